"""Several platforms in one build, and what runs of another platform."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from build_host import BuildHost

from swarmlite.build import emulation, platforms
from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.proto import build_pb2 as pb
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.images_pb2 import RemoveImageRequest, SaveImagesRequest
from swarmlite.proto.types_pb2 import Platform as Message
from swarmlite.storage.images.manifest import OCI_INDEX
from swarmlite.storage.images.types import Platform

CROSS = """FROM --platform=$BUILDPLATFORM busybox AS tool
ARG TARGETARCH
RUN echo $TARGETARCH >/arch
FROM scratch
COPY --from=tool /arch /arch
"""
HOST = Platform.of_host()
FOREIGN = "riscv64" if HOST.architecture != "riscv64" else "arm64"
BOTH = [Message(os="linux", architecture=name) for name in (FOREIGN, HOST.architecture)]


def blob_of(archive: tarfile.TarFile, digest: str) -> Any:
    """A JSON blob of an OCI layout."""
    member = archive.extractfile(f"blobs/sha256/{digest.partition(':')[2]}")
    assert member is not None
    return json.load(member)


def names_of(archive: tarfile.TarFile) -> set[str]:
    """Digests of all blobs of an OCI layout."""
    return {f"sha256:{name.rpartition('/')[2]}" for name in archive.getnames() if "blobs/" in name}


async def test_several_platforms_are_an_index_that_is_given_on_whole(
    builder: BuildHost,
) -> None:
    """An image for each; this host runs its own, and keeps the others' blobs to be given on."""
    before = {image.id for image in (await builder.node.engine.images.List(ListRequest())).images}
    name = "cross:1"
    outputs = [pb.BuildOutput(type=pb.BuildOutput.IMAGE), pb.BuildOutput(type=pb.BuildOutput.OCI)]
    built = await builder.build(CROSS, platforms=BOTH, tags=[name], outputs=outputs)
    assert built.result.manifest_media_type == OCI_INDEX
    assert built.config["architecture"] == HOST.architecture
    assert f"blobs/sha256/{built.result.manifest_digest[7:]}" in built.tree(1)
    steps = [step.name for step in built.steps.values() if step.instruction.startswith("COPY")]
    assert sorted(steps) == sorted(
        f"[linux/{one.architecture} stage-1 2/2] COPY --from=tool /arch /arch" for one in BOTH
    )
    images = builder.node.engine.images
    after = {image.id for image in (await images.List(ListRequest())).images}
    assert after - before == {built.result.image_id}

    with tarfile.open(fileobj=io.BytesIO(built.output(1))) as archive:
        index = blob_of(archive, built.result.manifest_digest)
        found = {one["platform"]["architecture"]: one["digest"] for one in index["manifests"]}
        assert set(found) == {one.architecture for one in BOTH}
        for architecture, digest in found.items():
            manifest = blob_of(archive, digest)
            assert blob_of(archive, manifest["config"]["digest"])["architecture"] == architecture
            assert {layer["digest"] for layer in manifest["layers"]} <= names_of(archive)
    saved = images.Save(SaveImagesRequest(refs=[name], all_platforms=True))
    assert b"".join([chunk.data async for chunk in saved])  # all of it is here still
    await images.Remove(RemoveImageRequest(ref=name))


def test_what_cannot_be_of_several_platforms_is_refused() -> None:
    outputs = [pb.BuildOutput(type=pb.BuildOutput.TREE)]
    with pytest.raises(InvalidSpec, match="several platforms can be an image or an archive"):
        platforms.wanted(pb.BuildOptions(platforms=BOTH, outputs=outputs))


async def test_run_of_a_platform_without_an_emulator_says_what_would_help(
    builder: BuildHost,
) -> None:
    try:
        emulation.check(Platform("linux", FOREIGN), HOST)
    except FailedPrecondition:
        pass
    else:
        pytest.skip(f"this host runs {FOREIGN}")
    text = 'FROM scratch\nCOPY f /f\nRUN ["/f"]\n'
    refused = await builder.build(text, {"f": "x"}, platform=BOTH[0])
    assert f"has no emulator of {FOREIGN}: install qemu-user-static" in refused.refusal


def test_an_emulator_is_told_by_the_machine_of_its_magic_and_its_flag(tmp_path: Path) -> None:
    """As binfmt_misc shows its handlers: only those opened beforehand (F) serve a container."""
    magic = bytearray(b"\x7fELF\2\1\1" + bytes(13))
    magic[18:20] = (183).to_bytes(2, "little")
    text = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: {}\noffset 0\nmagic {}\n"
    host, wanted = Platform("linux", "amd64"), Platform("linux", "arm64")
    (tmp_path / "status").write_text("enabled\n")
    entry = tmp_path / "qemu-aarch64"
    for flags, content in (("OC", "enabled"), ("OCF", "disabled")):
        entry.write_text(text.format(flags, magic.hex()).replace("enabled", content))
        with pytest.raises(FailedPrecondition, match="no emulator of arm64"):
            emulation.check(wanted, host, tmp_path)
    entry.write_text(text.format("OCF", magic.hex()))
    emulation.check(wanted, host, tmp_path)
    with pytest.raises(FailedPrecondition, match="no emulator of s390x"):
        emulation.check(Platform("linux", "s390x"), host, tmp_path)
    emulation.check(Platform("linux", "386"), host, tmp_path / "none")
