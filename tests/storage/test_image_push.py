"""Pushes to a real registry, saved archives, images made here: what came is given on."""

import asyncio
import gzip
import io
import json
import lzma
import os
import tarfile
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from image_world import FAST, SMALL, image_of, left_behind, needs_root, one_file

from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from swarmlite.storage import trees
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.manifest import ACCEPTED, OCI_INDEX, OCI_MANIFEST
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.store import ImageStore, tag_of
from swarmlite.storage.images.types import Platform, Progress
from swarmlite.testing.oci import BuiltImage, TarWriter, digest, docker_archive
from swarmlite.testing.push import Pusher
from swarmlite.testing.registry import Registry

pytestmark = needs_root
CHUNKED = RegistrySettings(backoff_s=0.01, max_backoff_s=0.3, upload_chunk_bytes=1 << 20)


def manifest_of(registry: Registry, name: str, target: str) -> bytes:
    """A manifest as a registry gives it out."""
    request = urllib.request.Request(
        f"{registry.url}/v2/{name}/manifests/{target}", headers={"Accept": ", ".join(ACCEPTED)}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        body: bytes = answer.read()
    return body


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_what_was_pulled_is_pushed_byte_for_byte(
    registry: Registry, store: ImageStore, compression: str
) -> None:
    built = image_of(
        f"given-{compression}:1", one_file("a", "1"), one_file("b", "2"), compression=compression
    )
    await store.pull(registry.push(built))
    with Registry() as other:
        target = f"{other.address}/team/copy:2"
        await store.tag(f"{registry.address}/given-{compression}:1", target)
        steps: list[Progress] = []
        (pushed,) = await store.push(target, progress=steps.append)
        assert (pushed.tag, pushed.digest) == ("2", digest(built.manifest))
        assert manifest_of(other, "team/copy", "2") == built.manifest
        assert f"{other.address}/team/copy@{pushed.digest}" in store.get(target).repo_digests
        assert {step.status for step in steps} >= {"Preparing", "Pushed"}
        again: list[Progress] = []
        await store.push(target, progress=again.append)
        assert {step.status for step in again} == {"Preparing", "Layer already exists"}
        fresh = ImageStore(store.root.parent / "fresh", settings=FAST, limits=SMALL)
        assert (await fresh.pull(target)).id == built.id


async def test_an_image_whose_layers_came_from_elsewhere_is_given_on_as_its_own(
    registry: Registry, store: ImageStore
) -> None:
    """Layers unpacked from another blob of the same tar: this image's blobs are brought too."""
    tar = one_file("same", os.urandom(100_000))
    await store.load(io.BytesIO(docker_archive([image_of("plain:1", tar, compression="none")])))
    built = image_of("squeezed:1", tar, compression="gzip")
    await store.pull(registry.push(built))
    assert {layer.digest for layer in built.layers} <= set(store.content.digests())
    target = f"{registry.address}/squeezed-again:1"
    await store.tag(f"{registry.address}/squeezed:1", target)
    await store.push(target)
    assert manifest_of(registry, "squeezed-again", "1") == built.manifest


async def test_a_layer_that_the_registry_has_elsewhere_is_mounted_and_not_sent(
    registry: Registry, store: ImageStore
) -> None:
    built = image_of("mount-source:1", one_file("big", os.urandom(2_000_000)))
    await store.pull(registry.push(built))
    target = f"{registry.address}/mount-target:1"
    await store.tag(f"{registry.address}/mount-source:1", target)
    steps: list[Progress] = []
    await store.push(target, progress=steps.append)
    said = {step.status for step in steps}
    assert "Mounted from mount-source" in said and "Pushing" not in said
    assert manifest_of(registry, "mount-target", "1") == built.manifest


async def test_large_layers_go_in_chunks(tmp_path: Path) -> None:
    built = image_of("chunks:1", one_file("big", os.urandom(5_500_000)), compression="none")
    store = ImageStore(tmp_path / "images", settings=CHUNKED, limits=SMALL)
    await store.load(io.BytesIO(docker_archive([built])))
    with Registry(tls=True, users={"me": "secret"}) as secure:
        store.settings = RegistrySettings(
            certs_dir=secure.certs_dir, retries=1, upload_chunk_bytes=1 << 20
        )
        target = f"{secure.address}/chunks:1"
        await store.tag("chunks:1", target)
        with pytest.raises(PermissionDenied, match="asks for a user name and password"):
            await store.push(target)
        with pytest.raises(PermissionDenied, match="refuses these credentials"):
            await store.push(target, auth=RegistryAuth("me", "wrong"))
        await store.push(target, auth=secure.auth)
        fresh = ImageStore(tmp_path / "fresh", settings=store.settings, limits=SMALL)
        image = await fresh.pull(target, auth=secure.auth)
        assert image.id == built.id


async def test_pushing_what_is_not_there_says_so(registry: Registry, store: ImageStore) -> None:
    with pytest.raises(NotFound, match=r"does not exist locally with the tag: .*/none:1"):
        await store.push(f"{registry.address}/none:1")
    with pytest.raises(InvalidSpec, match="cannot push a digest"):
        await store.push(f"{registry.address}/x@sha256:{'1' * 64}")
    ref = registry.push(image_of("half:1", one_file("a", "half")))
    image = await store.pull(ref)
    for blob in store.inspect(ref).blobs:
        if blob not in (image.id, image.manifest):
            store.content.delete(blob)
    with Registry() as other:
        await store.tag(ref, f"{other.address}/half:1")
        with pytest.raises(FailedPrecondition, match="not kept here as it came: pull the image"):
            await store.push(f"{other.address}/half:1")
    with pytest.raises(FailedPrecondition, match="not kept here as it came: pull the image"):
        store.save([ref])


async def test_all_tags_of_a_repository_are_pushed(registry: Registry, store: ImageStore) -> None:
    await store.load(io.BytesIO(docker_archive([image_of("tags:1", one_file("a", "tags"))])))
    for tag in ("1", "two"):
        await store.tag("tags:1", f"{registry.address}/tags:{tag}")
    pushed = await store.push(f"{registry.address}/tags", all_tags=True)
    assert [one.tag for one in pushed] == ["1", "two"]


def push_index(registry: Registry, name: str, *architectures: str) -> dict[str, BuiltImage]:
    """An index with an image for each architecture, and an attestation."""
    pusher, entries, images = Pusher(registry.url), [], {}
    for architecture in architectures:
        layers = image_of("x", one_file("arch", architecture)).layers
        built = BuiltImage(f"{name}:1", layers, architecture=architecture)
        pusher.push(built, f"{name}:{architecture}")
        described = {"digest": digest(built.manifest), "size": len(built.manifest)}
        platform = {"os": "linux", "architecture": architecture}
        entries.append({"mediaType": OCI_MANIFEST, **described, "platform": platform})
        images[architecture] = built
    statement = b'{"predicateType":"https://slsa.dev/provenance/v0.2"}'
    empty = b'{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers"}}'
    for blob in (statement, empty):
        pusher.push_blob(name, blob)
    layer = {"mediaType": "application/vnd.in-toto+json", "digest": digest(statement)}
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(empty)}
    attestation = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config | {"size": len(empty)},
            "layers": [layer | {"size": len(statement)}],
        }
    ).encode()
    pusher.push_manifest(name, digest(attestation), attestation, OCI_MANIFEST)
    notes = {"vnd.docker.reference.type": "attestation-manifest"}
    notes["vnd.docker.reference.digest"] = entries[0]["digest"]
    entries.append(
        {"mediaType": OCI_MANIFEST, "digest": digest(attestation), "size": len(attestation)}
        | {"platform": {"os": "unknown", "architecture": "unknown"}, "annotations": notes}
    )
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    pusher.push_manifest(name, "1", json.dumps(index).encode(), OCI_INDEX)
    return images


async def test_an_image_of_all_platforms_is_pulled_pushed_and_saved_whole(
    registry: Registry, store: ImageStore, tmp_path: Path
) -> None:
    own = Platform.of_host().architecture
    images = push_index(registry, "whole", own, "riscv64")
    ref = f"{registry.address}/whole:1"
    image = await store.pull(ref)
    assert image.id == images[own].id
    found = store.inspect(ref)
    kinds = [(str(one.platform), one.attestation, one.available) for one in found.manifests]
    assert kinds == [
        (f"linux/{own}", False, True),
        ("linux/riscv64", False, False),
        ("unknown/unknown", True, False),
    ]
    assert found.manifests[0].image_id == image.id and found.manifests[2].attests
    with pytest.raises(FailedPrecondition, match="--all-platforms"):
        await store.push(ref, all_platforms=True)
    image = await store.pull(ref, all_platforms=True)
    assert all(one.available for one in store.inspect(ref).manifests)
    with Registry() as other:
        target = f"{other.address}/whole:1"
        await store.tag(ref, target)
        await store.push(target, all_platforms=True)
        assert manifest_of(other, "whole", "1") == manifest_of(registry, "whole", "1")
        fresh = ImageStore(tmp_path / "fresh", settings=FAST, limits=SMALL)
        foreign = Platform("linux", "riscv64")
        assert (await fresh.pull(target, platform=foreign)).id == images["riscv64"].id
        only = f"{other.address}/only:1"
        await store.tag(ref, only)
        (pushed,) = await store.push(only, platform=foreign)
        assert pushed.digest == digest(images["riscv64"].manifest)
    archive = b"".join(store.save([ref], all_platforms=True))
    loaded = ImageStore(tmp_path / "loaded", settings=FAST, limits=SMALL)
    await loaded.load(io.BytesIO(archive), platform=foreign)
    assert loaded.get(ref).id == images["riscv64"].id


async def test_what_is_saved_is_loaded_with_the_same_digests(
    registry: Registry, store: ImageStore, tmp_path: Path
) -> None:
    built = image_of("saved:1", one_file("a", "1"), one_file("b", "2"))
    ref = registry.push(built)
    image = await store.pull(ref)
    await store.tag(ref, "short")
    archive = b"".join(store.save(["short", ref, image.id]))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = tar.getnames()
        entry = json.load(tar.extractfile("manifest.json") or io.BytesIO())
    assert entry[0]["RepoTags"] == ["short:latest", ref]
    assert set(entry[0]["Layers"]) | {entry[0]["Config"]} <= set(names)
    fresh = ImageStore(tmp_path / "fresh", settings=FAST, limits=SMALL)
    (loaded,) = await fresh.load(io.BytesIO(gzip.compress(archive, 1)))
    assert sorted(loaded.repo_tags) == sorted(["short:latest", ref])
    assert (loaded.id, loaded.manifest) == (image.id, digest(built.manifest))
    assert b"".join(fresh.save(["short", ref])) == b"".join(store.save(["short", ref]))
    with pytest.raises(NotFound):
        store.save(["nothing"])


async def test_saving_a_name_takes_all_of_its_tags(store: ImageStore) -> None:
    images = [image_of(f"many:{tag}", one_file("a", tag)) for tag in ("1", "2")]
    await store.load(io.BytesIO(docker_archive(images)))
    with tarfile.open(fileobj=io.BytesIO(b"".join(store.save(["many"])))) as tar:
        entries = json.load(tar.extractfile("manifest.json") or io.BytesIO())
    assert sorted(tag for entry in entries for tag in entry["RepoTags"]) == ["many:1", "many:2"]


# made here
def packed(form: str, tar: bytes) -> bytes:
    if form == "gzip":
        return gzip.compress(tar)
    return lzma.compress(tar) if form == "xz" else tar


@pytest.mark.parametrize("form", ["plain", "gzip", "xz"])
async def test_a_layer_becomes_an_image_that_can_be_pushed(
    registry: Registry, store: ImageStore, form: str
) -> None:
    config: dict[str, Any] = {"os": "linux", "architecture": Platform.of_host().architecture}
    config["config"] = {"Cmd": ["/bin/x"]}
    data = packed(form, one_file("made", form))
    tag = tag_of(f"{registry.address}/made-{form}:1")
    base = await store.make(config, io.BytesIO(data), tag=tag)
    assert base.repo_tags == (tag,)

    async def pieces() -> AsyncIterator[bytes]:
        upper = one_file("more", "2")
        yield upper[:1000]
        yield upper[1000:]

    image = await store.make(config, pieces(), base=base, tag=tag)
    assert store.get(tag).id == image.id and len(image.layers) == 2
    await store.push(tag)
    fresh = ImageStore(store.root.parent / f"fresh-{form}", settings=FAST, limits=SMALL)
    pulled = await fresh.pull(tag)
    top, bottom = fresh.lower_dirs(pulled)
    assert ((bottom / "made").read_text(), (top / "more").read_text()) == (form, "2")


async def test_what_is_made_of_bad_layers_is_refused_and_leaves_nothing(store: ImageStore) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield one_file("a", "b")
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await store.make({}, cut())
    for data in (b"no tar at all" * 100, lzma.compress(b"x" * 100_000)[:-20]):
        with pytest.raises(InvalidSpec):
            await store.make({}, io.BytesIO(data))
    bomb = TarWriter()
    bomb.file("zeros", bytes(70 << 20))
    with pytest.raises(ResourceExhausted, match="unpacks to more than 64 MiB"):
        await store.make({}, io.BytesIO(gzip.compress(bomb.tar(), 1)))
    trees.wait_for_discards()
    assert store.list() == [] and left_behind(store) == []
    assert list(store.content.digests()) == []
    assert list((store.root / "ingest").iterdir()) == []


async def test_nothing_of_an_image_is_collected_while_it_is_saved(store: ImageStore) -> None:
    await store.load(io.BytesIO(docker_archive([image_of("going:1", one_file("a", "b"))])))
    pieces: Iterator[bytes] = store.save(["going:1"])
    first = next(pieces)
    await store.remove("going:1")
    whole = first + b"".join(pieces)
    (image,) = await store.load(io.BytesIO(whole))
    assert image.repo_tags == ("going:1",)
