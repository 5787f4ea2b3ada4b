"""Blobs are kept as they came, by digest, for as long as somebody needs them."""

import asyncio
import gzip
import hashlib
import io
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from image_world import FAST, SMALL, image_of, needs_root, one_file

from swarmlite.errors import InvalidSpec, NotFound, ResourceExhausted
from swarmlite.storage import trees
from swarmlite.storage.content import Content
from swarmlite.storage.images import configfile
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Limits
from swarmlite.storage.leases import Leases
from swarmlite.testing.oci import BuiltImage, docker_archive, oci_archive
from swarmlite.testing.registry import Registry

pytestmark = needs_root


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return Content(tmp_path / "content")


def test_a_blob_is_what_its_digest_says(content: Content) -> None:
    name = content.put(b"manifest")
    assert name == digest(b"manifest") and content.has(name)
    assert content.read(name, 100) == b"manifest"
    assert content.info(name).size_bytes == 8
    assert list(content.digests()) == [name]
    assert content.take(io.BytesIO(b"..blob.."), 8) == digest(b"..blob..")
    with pytest.raises(InvalidSpec, match="another content"):
        content.take(io.BytesIO(b"other"), 5, digest(b"blob"))
    with pytest.raises(InvalidSpec, match="another content"):
        content.take(io.BytesIO(b"short"), 50)
    with pytest.raises(InvalidSpec, match="longer than 3"):
        content.read(name, 3)
    with pytest.raises(NotFound):
        content.open(digest(b"none"))
    for bad in ("", "sha256:../../x", "md5:" + "0" * 32, "sha256:" + "A" * 64):
        with pytest.raises(InvalidSpec, match="is not a digest"):
            content.has(bad)
    assert content.collect({name}) == 8
    assert list(content.digests()) == [name]


def test_what_is_half_done_or_old_is_gone_at_the_next_start(tmp_path: Path) -> None:
    content = Content(tmp_path)
    fresh, old = digest(b"fresh"), digest(b"old")
    content.ingest(fresh).write_bytes(b"fre")
    content.ingest(old).write_bytes(b"ol")
    os.utime(content.ingest(old), (time.time() - 100_000,) * 2)
    (tmp_path / "ingest/take-1").write_bytes(b"x")
    (tmp_path / "blobs/sha256/.x.new").write_bytes(b"x")
    again = Content(tmp_path)
    assert [path.name for path in (tmp_path / "ingest").iterdir()] == [fresh.replace(":", "-")]
    assert list((tmp_path / "blobs/sha256").iterdir()) == []
    again.ingest(fresh).write_bytes(b"fresh")
    again.commit(fresh)
    again.commit(fresh)
    assert again.read(fresh, 10) == b"fresh"


async def test_a_pulled_image_can_be_given_on_as_it_came(
    registry: Registry, store: ImageStore
) -> None:
    built = image_of("kept:1", one_file("a", "1"), one_file("b", os.urandom(100_000)))
    image = await store.pull(registry.push(built))
    manifest = json.loads(store.content.read(image.manifest, 1 << 20))
    assert store.content.read(image.manifest, 1 << 20) == built.manifest
    assert store.content.read(manifest["config"]["digest"], 1 << 20) == built.config
    for layer, came in zip(manifest["layers"], built.layers, strict=True):
        assert store.content.read(layer["digest"], 1 << 20) == came.read()
    again = ImageStore(store.root, settings=FAST, limits=SMALL)
    assert again.get(image.id).manifest == image.manifest
    assert again.content.has(manifest["layers"][0]["digest"])
    await again.remove(image.id, force=True)
    assert list(again.content.digests()) == []


@pytest.mark.parametrize("kind", [docker_archive, oci_archive])
async def test_a_loaded_image_has_a_manifest_and_its_blobs(store: ImageStore, kind: object) -> None:
    built = image_of("loaded:1", one_file("a", "1"), one_file("b", "2"))
    (image,) = await store.load(io.BytesIO(kind([built])))  # type: ignore[operator]
    (same,) = await store.load(io.BytesIO(kind([built])))  # type: ignore[operator]
    assert same == image
    manifest = json.loads(store.content.read(image.manifest, 1 << 20))
    assert manifest["config"]["digest"] == image.id
    for layer, came in zip(manifest["layers"], built.layers, strict=True):
        data = store.content.read(layer["digest"], 1 << 20)
        assert len(data) == layer["size"]
        if layer["mediaType"].endswith("gzip"):
            data = gzip.decompress(data)
        assert digest(data) == came.diff_id
    assert len(set(store.content.digests())) == 4


async def test_loading_a_pulled_image_keeps_what_the_registry_sent(
    registry: Registry, store: ImageStore
) -> None:
    built = image_of("both:1", one_file("a", "1"))
    image = await store.pull(registry.push(built))
    plain = docker_archive([BuiltImage(built.name, built.layers, built.settings)])
    await store.load(io.BytesIO(plain))
    assert store.get(image.id).manifest == image.manifest == digest(built.manifest)
    assert all(store.content.has(blob) for blob in store.inspect(image.id).blobs)
    await store.remove(image.id, force=True)
    assert list(store.content.digests()) == []


async def test_a_blob_that_is_here_is_not_fetched_again(
    registry: Registry, store: ImageStore, tmp_path: Path
) -> None:
    base = one_file("base", os.urandom(200_000))
    ref = registry.push(image_of("reused:1", base, one_file("a", "1")))
    image = await store.pull(ref)
    store.leases.hold("build/1", contents=list(store.content.digests()))
    await store.remove(ref)
    assert (store.root / "layers").exists() and store.list() == []
    steps: list[str] = []
    again = await store.pull(ref, progress=lambda step: steps.append(step.status))
    assert again.layers == image.layers
    assert "Downloading" not in steps and steps.count("Extracting") == 2
    store.leases.release("build/1")
    await store.remove(ref)
    assert list(store.content.digests()) == []


async def test_a_store_without_blobs_goes_on_working(registry: Registry, store: ImageStore) -> None:
    ref = registry.push(image_of("older:1", one_file("a", "1")))
    image = await store.pull(ref)
    index = json.loads((store.root / "images.json").read_text())
    for entry in index["images"]:
        for key in ("manifest", "blobs", "added", "used"):
            del entry[key]
        entry["from the future"] = 1
    (store.root / "images.json").write_text(json.dumps(index))
    for blob in list(store.content.digests()):
        store.content.delete(blob)
    older = ImageStore(store.root, settings=FAST, limits=SMALL)
    assert older.get(ref).layers == image.layers and older.get(ref).manifest == ""
    assert (older.lower_dirs(older.get(ref))[0] / "a").read_text() == "1"
    assert (await older.pull(ref)).manifest == image.manifest
    assert older.content.has(image.manifest)


async def test_an_image_that_unpacks_to_too_much_gives_its_space_back(
    registry: Registry, tmp_path: Path
) -> None:
    limits = Limits(image_bytes=3 << 20)
    store = ImageStore(tmp_path / "small", settings=FAST, limits=limits)
    bomb = image_of("bomb:1", *(one_file(f"f{n}", bytes(1 << 20)) for n in range(5)))
    with pytest.raises(ResourceExhausted, match="unpacks to more than 3 MiB"):
        await store.pull(registry.push(bomb))
    store.collect()
    assert store.list() == [] and list(store.content.digests()) == []
    assert list((store.root / "layers").iterdir()) == []
    async with asyncio.timeout(20):  # what is discarded goes in the background
        while any((store.root / "tmp").iterdir()):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer=5", "unknown limit 'layer'"),
        ("layers=many", "not a number"),
        ("layers=0", "not a number"),
        ("bytes=5x", "not a number"),
    ],
)
def test_limits_that_are_wrong_are_said(
    monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setenv("SWARMLITE_IMAGE_LIMITS", text)
    with pytest.raises(InvalidSpec, match=message):
        Limits.from_environment()


def test_the_name_that_earlier_releases_had_for_the_file_counts_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of that name is a user's, and no file of a node's."""
    file = tmp_path / "swarmlite.toml"
    file.write_text("[images.limits]\nlayers = 7\n")
    monkeypatch.delenv("SWARMLITE_SETTINGS", raising=False)
    monkeypatch.setenv("SWARMLITE_CONFIG", str(file))
    assert configfile.path() == file
    assert Limits.from_environment().layers == 7
    monkeypatch.setenv("SWARMLITE_CONFIG", str(tmp_path))
    assert configfile.path() == configfile.USUAL


def test_limits_of_swarmlite_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says stands over them."""
    file = tmp_path / "swarmlite.toml"
    monkeypatch.setenv("SWARMLITE_SETTINGS", str(file))
    file.write_text('[images.limits]\nlayers = 7\nbytes = "20g"\nentries = 5\n')
    monkeypatch.setenv("SWARMLITE_IMAGE_LIMITS", "entries=6")
    assert Limits.from_environment() == Limits(layers=7, bytes=20 << 30, entries=6)
    for text, message in (
        ("[images]\nlimit = 1", "images: unknown key 'limit': use limits"),
        ("[images]\nlimits = 1", "images.limits is not a table"),
        ("[images.limits]\nlayers = true", "images.limits: layers='true' is not a number"),
        ("[images.limits]\nlayer = 1", "images.limits: unknown limit 'layer'"),
    ):
        file.write_text(text)
        with pytest.raises(InvalidSpec, match=message):
            Limits.from_environment()


async def test_the_owner_of_a_node_sets_limits(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = registry.push(image_of("limited:1", one_file("a", "1"), one_file("b", "2")))
    for text, message in (
        ("layers=1", "more than 1"),
        ("config_bytes=16", "more than 16"),
        ("manifest_bytes=16", "longer than 16"),
        ("entries=1, bytes=1k", "unpacks to more than|more than 1 entries"),
    ):
        monkeypatch.setenv("SWARMLITE_IMAGE_LIMITS", text)
        store = ImageStore(tmp_path / "limited", settings=FAST)
        with pytest.raises((InvalidSpec, ResourceExhausted), match=message):
            await store.pull(ref)
    monkeypatch.setenv("SWARMLITE_IMAGE_LIMITS", "layers=2,bytes=10m")
    assert ImageStore(tmp_path / "l2", settings=FAST).limits == Limits(layers=2, bytes=10 << 20)


async def test_a_pull_that_is_leased_is_held_before_anybody_can_remove_it(
    registry: Registry, tmp_path: Path
) -> None:
    leases = Leases(tmp_path / "leases")
    store = ImageStore(tmp_path / "images", settings=FAST, limits=SMALL, leases=leases)
    ref = registry.push(image_of("held:1", one_file("a", "1")))
    image = await store.pull(ref, owner="container/1")
    assert leases.holders(image=image.id) == ["container/1"]
    pinned = await store.pull(image.repo_digests[0], owner="container/2")
    assert pinned.id == image.id
    assert leases.holders(image=image.id) == ["container/1", "container/2"]
    leases.close()


async def test_a_disk_that_fills_during_a_pull_or_load_gets_its_space_back(
    registry: Registry, tmp_path: Path
) -> None:
    """At each step of it: the blob, the layer, the archive."""
    built = image_of("full:1", one_file("a", os.urandom(1 << 20)))
    ref = await asyncio.to_thread(registry.push, built)
    for size in ("256k", "1536k"):
        place = tmp_path / size
        place.mkdir()
        options = f"size={size},mode=700"
        mount = ["mount", "-t", "tmpfs", "-o", options, "none", place]
        await asyncio.to_thread(subprocess.run, mount, check=True)
        try:
            limits = Limits(free_bytes=0, free_inodes=0)
            store = ImageStore(place / "images", settings=FAST, limits=limits)
            tar = one_file("made", os.urandom(2 << 20))
            for attempt in (
                store.pull(ref),
                store.load(io.BytesIO(docker_archive([built]))),
                store.make({"os": "linux"}, io.BytesIO(tar)),
            ):
                with pytest.raises(ResourceExhausted, match="no space left on the disk"):
                    await attempt
            await asyncio.to_thread(trees.wait_for_discards)
            store.collect()
            await asyncio.to_thread(trees.wait_for_discards)
            left = [path for path in place.rglob("*") if path.is_file()]
            assert sum(path.stat().st_size for path in left) < 8192, left
            assert store.list() == []
            store.leases.close()
        finally:
            await asyncio.to_thread(subprocess.run, ["umount", "-l", place], check=True)
