"""A disk that fills at each step of a pull, a load, a made layer, a push: all of it or nothing.

A disk of each size, from one that has room for nothing to one that has room for all, is full at
another step. What failed says so in one line, leaves nothing, and goes well once there is room.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from image_world import FAST, SMALL, image_of, needs_root, one_file

from swarmlite.errors import ResourceExhausted
from swarmlite.storage import trees
from swarmlite.storage.images.store import ImageStore
from swarmlite.testing.oci import TarWriter, docker_archive
from swarmlite.testing.registry import Registry

pytestmark = [needs_root, pytest.mark.timeout(240)]
LIMITS = type(SMALL)(free_bytes=0, free_inodes=0)
ROOM = "remount,size=64m,nr_inodes=9999"
SIZES = [f"size={kib}k" for kib in (80, 208, 336, 464, 592)] + [
    f"size=8m,nr_inodes={count}" for count in (20, 28, 36)
]
WAYS = ("pull", "load", "make")
Work = Callable[[ImageStore], Awaitable[object]]


def many_files() -> bytes:
    tar = TarWriter()
    for number in range(12):
        tar.file(f"many/{number}", os.urandom(5000))
    return tar.tar()


IMAGE = image_of("filling:1", one_file("first", os.urandom(120_000)), many_files())


def mount(*words: object) -> None:
    subprocess.run(["mount", *words], check=True)


@contextmanager
def disk(place: Path, options: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", options, "tmpfs", place)
    try:
        yield place
    finally:
        trees.wait_for_discards()
        subprocess.run(["umount", "-l", place], check=True)


def work(way: str, registry: Registry) -> Work:
    if way == "pull":
        ref = registry.push(IMAGE)
        return lambda store: store.pull(ref)
    if way == "load":
        archive = docker_archive([IMAGE])
        return lambda store: store.load(io.BytesIO(archive))
    layer = one_file("made", os.urandom(200_000))
    return lambda store: store.make({"os": "linux"}, io.BytesIO(layer), base=None, tag="made:1")


@pytest.mark.parametrize("way", WAYS)
async def test_a_disk_that_fills_at_any_step(way: str, registry: Registry, tmp_path: Path) -> None:
    task = work(way, registry)
    failed = 0
    for options in SIZES:
        with disk(tmp_path / "disk", options) as place:
            try:
                store = ImageStore(place / "images", settings=FAST, limits=LIMITS)
            except OSError:  # not even an empty one fits
                continue
            try:
                await task(store)
            except ResourceExhausted as error:
                assert "no space left on the disk" in str(error) and "\n" not in str(error)
                failed += 1
                await nothing_half(store)
            await asyncio.to_thread(mount, "-o", ROOM, place)
            await task(store)
            (entry,) = store._catalog.index.entries.values()
            assert all(store.content.has(blob) for blob in entry.blobs), options
            again = ImageStore(place / "images", settings=FAST, limits=LIMITS)
            assert [image.id for image in again.list()] == [entry.id], options
    assert failed > 2


async def test_names_stay_as_they_are_and_images_can_go(registry: Registry, tmp_path: Path) -> None:
    """On a disk without room a name is given to nobody, and to remove an image makes room."""
    refs = [registry.push(image_of(f"name{n}:1", one_file("f", os.urandom(9000)))) for n in "ab"]
    with disk(tmp_path / "disk", "size=8m,nr_inodes=400") as place:
        store = ImageStore(place / "images", settings=FAST, limits=LIMITS)
        one, other = [(await store.pull(ref)).id for ref in refs]
        await store.layers.unsynced.flush()
        await asyncio.to_thread(fill, place)
        for name in ("new:1", refs[1]):
            with pytest.raises(ResourceExhausted, match="no space left on the disk"):
                await store.tag(one, name)
        assert {tag for image in store.list() for tag in image.repo_tags} == set(refs)
        assert store.get(refs[1]).id == other
        await store.remove(refs[0])
        await store.tag(other, "new:1")
        again = ImageStore(place / "images", settings=FAST, limits=LIMITS)
        assert [image.id for image in again.list()] == [other]


def fill(place: Path) -> None:
    """Until neither a byte nor a file more fits."""
    with pytest.raises(OSError, match="No space left"), (place / "filler").open("wb") as file:
        while True:
            file.write(bytes(1 << 12))
            file.flush()
    with pytest.raises(OSError, match="No space left"):
        for number in itertools.count():
            (place / f"filler{number}").touch()


async def nothing_half(store: ImageStore) -> None:
    """An image is whole, or there is none, nor layers or scratch, once what goes is gone."""
    await asyncio.to_thread(trees.wait_for_discards)
    assert [path.name for path in (store.root / "tmp").iterdir()] == []
    entries = store._catalog.index.entries.values()
    assert all(store.content.has(blob) for entry in entries for blob in entry.blobs)
    if not entries:
        assert [path.name for path in (store.root / "layers").iterdir()] == []


async def test_a_push_needs_no_room(registry: Registry, tmp_path: Path) -> None:
    """It only reads: a full disk hinders nobody who gives its images away."""
    ref = registry.push(IMAGE)
    with disk(tmp_path / "disk", "size=8m") as place:
        store = ImageStore(place / "images", settings=FAST, limits=LIMITS)
        await store.pull(ref)
        target = f"{registry.address}/from-a-full-disk:1"
        await store.tag(ref, target)
        with pytest.raises(OSError, match="No space left"), (place / "filler").open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        (pushed,) = await store.push(target)
        assert pushed.digest == store.get(ref).manifest
