"""Pulls from a real registry: plain, TLS, logins, indexes; sharing, names, removal."""

import asyncio
import io
import json
import os
import random
import ssl
import subprocess
from pathlib import Path

import pytest
from image_world import FAST, SMALL, image_of, in_overlay, left_behind, needs_root, one_file

from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.manifest import OCI_INDEX
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Platform, Progress
from swarmlite.testing.oci import MANIFEST_TYPE, BuiltImage, TarWriter, digest, docker_archive
from swarmlite.testing.push import Pusher
from swarmlite.testing.registry import Registry

pytestmark = needs_root


def run(*words: object) -> str:
    """Run a command to its end; what it wrote."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True)
    return done.stdout


async def test_a_pulled_image_can_be_run_and_found_by_every_name(
    registry: Registry, store: ImageStore
) -> None:
    ref = f"{registry.address}/busybox"
    seen: list[Progress] = []
    image = await store.pull(ref, progress=seen.append)
    resolved = await store.resolve(ref)
    assert image.repo_tags == (f"{ref}:latest",)
    assert image.repo_digests == (f"{ref}@{resolved.digest}",)
    for name in (ref, f"{ref}:latest", f"{ref}@{resolved.digest}", image.id, image.id[7:19]):
        assert store.get(name).id == image.id
    assert store.get(f"{ref}:other@{resolved.digest}").id == image.id
    assert {"Downloading", "Extracting", "Pull complete"} <= {step.status for step in seen}
    (root,) = store.lower_dirs(image)
    assert run("chroot", root, "/bin/echo", "runs") == "runs\n"
    assert store.root.stat().st_mode & 0o777 == 0o700
    assert ImageStore(store.root).list() == store.list()


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_layers_of_every_compression_are_unpacked(
    registry: Registry, store: ImageStore, compression: str
) -> None:
    tars = (one_file("a", "1"), one_file("d/b", b"\0" * 3_000_000))
    ref = registry.push(image_of(f"packed-{compression}:1", *tars, compression=compression))
    image = await store.pull(ref)
    top, base = store.lower_dirs(image)
    assert (base / "a").read_text() == "1"
    assert (top / "d/b").stat().st_size == 3_000_000


async def test_a_registry_with_tls_and_logins(tmp_path: Path) -> None:
    with Registry(tls=True, users={"me": "secret"}) as secure:
        ref = secure.push(image_of("private:1", one_file("x", "y")))
        trusting = RegistrySettings(certs_dir=secure.certs_dir, retries=0)
        store = ImageStore(tmp_path / "s", settings=trusting)
        with pytest.raises(PermissionDenied, match="asks for a user name and password"):
            await store.pull(ref)
        with pytest.raises(PermissionDenied, match="refuses these credentials"):
            await store.pull(ref, auth=RegistryAuth("me", "wrong"))
        assert (await store.pull(ref, auth=secure.auth)).repo_tags == (ref,)
        other = tmp_path / "other" / secure.address
        other.mkdir(parents=True)
        with Registry(tls=True) as stranger:
            assert stranger.ca_file is not None
            (other / "ca.crt").write_bytes(stranger.ca_file.read_bytes())
        store = ImageStore(
            tmp_path / "t", settings=RegistrySettings(certs_dir=tmp_path / "other", retries=0)
        )
        with pytest.raises(PermissionDenied, match="certificate that is not trusted"):
            await store.pull(ref, auth=secure.auth)


async def test_a_registry_of_a_bare_ca_is_trusted_on_every_python(tmp_path: Path) -> None:
    """Without key usage and key identifiers, which Python 3.13 demands unless asked not to."""
    with Registry(tls=True, bare_certificates=True) as secure:
        ref = secure.push(image_of("bare:1", one_file("x", "y")))
        settings = RegistrySettings(certs_dir=secure.certs_dir, retries=0)
        image = await ImageStore(tmp_path / "s", settings=settings).pull(ref)
        assert image.repo_tags == (ref,)
        assert not settings.tls(secure.address).verify_flags & ssl.VERIFY_X509_STRICT


async def test_an_index_is_resolved_by_platform(registry: Registry, store: ImageStore) -> None:
    pusher = Pusher(registry.url)
    entries = []
    for architecture in ("amd64", "arm64"):
        built = BuiltImage(
            "multi:1",
            image_of("x", one_file("arch", architecture)).layers,
            architecture=architecture,
        )
        pusher.push(built, f"multi:{architecture}")
        platform = {"os": "linux", "architecture": architecture}
        described = {"digest": digest(built.manifest), "size": len(built.manifest)}
        entries.append({"mediaType": MANIFEST_TYPE, **described, "platform": platform})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    pusher.push_manifest("multi", "1", json.dumps(index).encode(), OCI_INDEX)
    ref = f"{registry.address}/multi:1"
    assert [str(p) for p in (await store.resolve(ref)).platforms] == ["linux/amd64", "linux/arm64"]
    image = await store.pull(ref, platform=Platform("linux", "arm64"))
    assert (store.lower_dirs(image)[0] / "arch").read_text() == "arm64"
    pinned = (await store.resolve(ref)).digest
    assert store.get(f"{registry.address}/multi@{pinned}").id == image.id
    with pytest.raises(FailedPrecondition, match=r"no image for linux/riscv64 .*linux/amd64"):
        await store.pull(ref, platform=Platform("linux", "riscv64"))
    with pytest.raises(FailedPrecondition, match="the image is for linux/arm64"):
        await store.pull(f"{ref[:-1]}arm64", platform=Platform("linux", "amd64"))


async def test_what_is_missing_is_said_in_one_line(registry: Registry, store: ImageStore) -> None:
    with pytest.raises(NotFound, match=r"no such image: .*nothing:latest"):
        await store.pull(f"{registry.address}/nothing")
    with pytest.raises(NotFound, match="no such image"):
        store.get("nothing")
    with pytest.raises(Unavailable, match=r"registry 127.0.0.1:1 does not answer"):
        await store.pull("127.0.0.1:1/x")
    with pytest.raises(InvalidSpec):
        await store.pull("not/VALID")
    assert store.list() == []


async def test_a_pinned_image_is_pulled_without_asking_again(store: ImageStore) -> None:
    with Registry() as short_lived:
        ref = short_lived.push(image_of("pinned:1", one_file("a", "b")))
        digest_ = (await store.resolve(ref)).digest
        image = await store.pull(f"{ref}@{digest_}")
        assert image.repo_tags == ()
    assert (await store.pull(f"{ref}@{digest_}")).id == image.id
    with pytest.raises(Unavailable):
        await store.pull(ref)


async def test_identical_pulls_and_shared_layers_are_done_once(
    registry: Registry, store: ImageStore
) -> None:
    base = one_file("base", os.urandom(500_000))
    one = registry.push(image_of("shared-one:1", base, one_file("a", "a")))
    two = registry.push(image_of("shared-two:1", base, one_file("b", "b")))
    steps: list[Progress] = []
    pulls = [store.pull(ref, progress=steps.append) for ref in (one, one, two, one, two)]
    images = await asyncio.gather(*pulls)
    assert len({image.id for image in images}) == 2
    assert len([step for step in steps if step.status == "Extracting"]) == 3
    assert images[0].layers[0] == images[2].layers[0]


async def test_a_cancelled_pull_leaves_the_others_alone(
    registry: Registry, store: ImageStore
) -> None:
    ref = registry.push(image_of("cancelled:1", one_file("x", os.urandom(2_000_000))))
    first = asyncio.create_task(store.pull(ref))
    second = asyncio.create_task(store.pull(ref))
    await asyncio.sleep(0.02)
    first.cancel()
    assert (await second).repo_tags == (ref,)
    await store.remove(ref)
    third = asyncio.create_task(store.pull(ref))
    await asyncio.sleep(0.02)
    third.cancel()
    with pytest.raises(asyncio.CancelledError):
        await third
    assert store.list() == []
    assert (await store.pull(ref)).repo_tags == (ref,)


async def test_removing_keeps_what_others_need(registry: Registry, store: ImageStore) -> None:
    base = one_file("base", "shared base")
    one = registry.push(image_of("remove-one:1", base, one_file("a", "1")))
    two = registry.push(image_of("remove-two:1", base, one_file("b", "2")))
    first, second = await store.pull(one), await store.pull(two)
    with pytest.raises(FailedPrecondition, match="in use"):
        await store.remove(one, in_use={first.id})
    removed = await store.remove(one)
    assert set(removed.untagged) == {one, *first.repo_digests}
    assert removed.deleted == (first.id, first.layers[1])
    assert (store.lower_dirs(second)[1] / "base").read_text() == "shared base"
    assert (await store.remove(second.id)).deleted == (
        second.id,
        second.layers[1],
        second.layers[0],
    )
    assert store.list() == [] and left_behind(store) == []
    with pytest.raises(NotFound):
        await store.remove(one)


async def test_a_tag_moves_to_the_image_that_was_pulled_last(
    registry: Registry, store: ImageStore
) -> None:
    ref = registry.push(image_of("moving:1", one_file("a", "old")))
    old = await store.pull(ref)
    registry.push(image_of("moving:1", one_file("a", "new")))
    new = await store.pull(ref)
    assert store.get(ref).id == new.id != old.id
    assert store.get(old.id).repo_tags == ()


async def test_a_hundred_layers_fit_into_one_overlay() -> None:
    count = 110
    tars = [one_file(f"f{number}", str(number)) for number in range(count)]
    root = Path(f"/tmp/sl-img-{os.getpid()}")
    store = ImageStore(root, settings=FAST, limits=SMALL)
    try:
        tar = docker_archive([image_of("deep:1", *tars)])
        lowers = store.lower_dirs((await store.load(io.BytesIO(tar)))[0])
        assert len(in_overlay(lowers, "ls").stdout.split()) == count
    finally:
        run("rm", "-rf", root)


async def test_directories_that_a_layer_does_not_describe_keep_their_mode(
    registry: Registry, store: ImageStore
) -> None:
    lower = TarWriter()
    lower.directory("tmp", mode=0o1777, uid=5, gid=6)
    upper = TarWriter()
    upper._there.add("tmp")  # the layer names no directory
    upper.file("tmp/file", "x")
    ref = registry.push(image_of("implied:1", lower.tar(), upper.tar()))
    top = store.lower_dirs(await store.pull(ref))[0]
    status = (top / "tmp").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o1777, 5, 6)


@pytest.mark.parametrize("content", [bytes(20_000_000), random.Random(1).randbytes(9_000_000)],
                         ids=["unpacking", "downloading"])  # fmt: skip
async def test_a_full_disk_is_one_line_and_leaves_nothing(
    registry: Registry, tmp_path: Path, content: bytes
) -> None:
    ref = registry.push(image_of(f"large:{content[0]}", one_file("file", content)))
    folder = tmp_path / "small"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder)
    try:
        limits = type(SMALL)(free_bytes=0, free_inodes=0)
        store = ImageStore(folder / "images", settings=FAST, limits=limits)
        with pytest.raises(Exception, match="no space left on the disk of"):
            await store.pull(ref)
        assert store.list() == [] and left_behind(store) == []
        folders = [store.root / "ingest", store.root / "tmp"]
        while [one for each in folders for one in each.iterdir()]:  # they go behind the answer
            await asyncio.sleep(0.02)
    finally:
        run("umount", "-l", folder)
