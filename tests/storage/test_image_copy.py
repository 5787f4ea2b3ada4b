"""`image copy` between real registries and archives of every kind: the same digests arrive."""

import io
import itertools
import json
import tarfile
from pathlib import Path

import pytest
from image_world import FAST, SMALL, image_of, needs_root, one_file

from swarmlite.errors import InvalidSpec, NotFound, PermissionDenied
from swarmlite.storage.images.copies import places
from swarmlite.storage.images.copies.copying import copy
from swarmlite.storage.images.manifest import OCI_INDEX, OCI_MANIFEST
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Platform, Progress
from swarmlite.testing.oci import BuiltImage, architecture, digest, docker_archive, oci_archive
from swarmlite.testing.push import Pusher
from swarmlite.testing.registry import Registry

pytestmark = needs_root


async def brought(source: str, target: str, **options: object) -> tuple[str, list[Progress]]:
    steps: list[Progress] = []
    found = await copy(
        places.parse(source),
        places.parse(target),
        steps.append,
        settings=FAST,
        limits=SMALL,
        **options,  # type: ignore[arg-type]
    )
    return found, steps


def two_platforms(registry: Registry, name: str) -> tuple[str, BuiltImage]:
    """The digest of an index, and the image of another machine in it."""
    pusher, entries = Pusher(registry.url), []
    for arch in (architecture(), "riscv64"):
        built = BuiltImage(
            f"{name}:1", image_of("x", one_file("arch", arch)).layers, architecture=arch
        )
        pusher.push(built, f"{name}:{arch}")
        described = {"digest": digest(built.manifest), "size": len(built.manifest)}
        platform = {"os": "linux", "architecture": arch}
        entries.append({"mediaType": OCI_MANIFEST, **described, "platform": platform})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    data = json.dumps(index).encode()
    pusher.push_manifest(name, "1", data, OCI_INDEX)
    return digest(data), built


async def test_a_whole_index_goes_through_every_kind_of_place(
    registry: Registry, tmp_path: Path
) -> None:
    top, foreign = two_platforms(registry, "round")
    with Registry() as other:
        stations = [
            f"docker://{registry.address}/round:1",
            f"oci:{tmp_path}/layout:first",
            f"oci-archive:{tmp_path}/archive.tar:some/name:1",
            f"{other.address}/elsewhere/round:2",
            f"{other.address}/elsewhere/again:3",
        ]
        for source, target in itertools.pairwise(stations):
            found, steps = await brought(source, target)
            assert found == top, (source, target)
        assert {step.status for step in steps} == {"Mounted"}
        _, steps = await brought(*stations[3:])
        assert {step.status for step in steps} == {"Already exists"}
        one = f"oci:{tmp_path}/one:riscv"
        found, _ = await brought(stations[4], one, platform=Platform("linux", "riscv64"))
        assert found == digest(foreign.manifest)
        second = f"oci:{tmp_path}/layout:second"
        await brought(one, second)
        with pytest.raises(NotFound, match=r"has several images, name one: .*first, second"):
            await brought(f"oci:{tmp_path}/layout", f"oci:{tmp_path}/x")
        assert (await brought(f"oci:{tmp_path}/layout:first", f"oci:{tmp_path}/x"))[0] == top


async def test_archives_of_docker_are_read_and_written(
    registry: Registry, store: ImageStore, tmp_path: Path
) -> None:
    built = image_of("packed/app:1", one_file("a", "1"), one_file("b", "2"))
    old = tmp_path / "old.tar"
    old.write_bytes(docker_archive([built, image_of("other:1", one_file("c", "3"))]))
    ref = f"{registry.address}/from-docker:1"
    await brought(f"docker-archive:{old}:packed/app:1", ref)
    image = await store.pull(ref)
    assert image.id == built.id
    new = tmp_path / "new.tar"
    await brought(ref, f"docker-archive:{new}:back/app:2")
    with tarfile.open(new) as tar:
        entry = json.load(tar.extractfile("manifest.json") or io.BytesIO())[0]
    assert entry["RepoTags"] == ["back/app:2"]
    with new.open("rb") as file:
        (loaded,) = await store.load(file)
    assert (loaded.id, loaded.repo_tags) == (built.id, ("back/app:2",))
    layout = tmp_path / "layout.tar"
    layout.write_bytes(oci_archive([built]))
    assert (await brought(f"oci-archive:{layout}", ref))[0] == digest(built.manifest)


async def test_what_cannot_be_copied_is_said(registry: Registry, tmp_path: Path) -> None:
    two_platforms(registry, "refused")
    ref = f"{registry.address}/refused:1"
    for source, target, kind, message in (
        (f"oci:{tmp_path}/none", ref, NotFound, "has no index.json"),
        (f"docker-archive:{tmp_path}/none", ref, NotFound, "is not a file"),
        (ref, f"docker-archive:{tmp_path}/x.tar", InvalidSpec, "choose it with --platform"),
        (ref, f"oci-archive:{tmp_path}/none/x.tar", InvalidSpec, "No such file"),
        (f"{registry.address}/nothing:1", ref, NotFound, "no such image"),
    ):
        with pytest.raises(kind, match=message):
            await brought(source, target)
    for text in ("oci:", "BAD", "docker://", "oci-archive::x", "docker-archive:x:BAD"):
        with pytest.raises(InvalidSpec):
            places.parse(text)
    with Registry(users={"me": "secret"}) as guarded:
        target = f"{guarded.address}/x:1"
        with pytest.raises(PermissionDenied, match="asks for a user name"):
            await brought(ref, target)
        await brought(ref, target, auths=(None, guarded.auth))
    archive = tmp_path / "bad.tar"
    built = image_of("bad:1", one_file("a", "1"))
    layer = built.layers[0].read()
    archive.write_bytes(oci_archive([built]).replace(layer, layer[:-1] + b"\1"))
    with pytest.raises(InvalidSpec, match="of the archive has another content"):
        await brought(f"oci-archive:{archive}", f"oci:{tmp_path}/y")
