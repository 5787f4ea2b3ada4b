"""Nothing that storage does holds the event loop that also beats hearts and answers names."""

import asyncio
import io
import json
import os
from pathlib import Path

from image_world import FAST, image_of, needs_root, one_file

from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Limits
from swarmlite.testing import watchdog
from swarmlite.testing.oci import docker_archive
from swarmlite.testing.registry import Registry

pytestmark = needs_root
MIB = 1 << 20


async def test_a_pull_that_goes_on_where_another_ended(registry: Registry, tmp_path: Path) -> None:
    """Most of a blob is here: it is hashed again, and the rest is written, hashed, unpacked."""
    data = os.urandom(48 * MIB)
    built = image_of("large:1", one_file("f", data), compression="")
    ref = await asyncio.to_thread(registry.push, built)
    blob = built.layers[0]
    store = ImageStore(tmp_path / "images", settings=FAST, limits=Limits(bytes=200 * MIB))
    store.content.ingest(blob.digest).write_bytes(blob.read()[: 40 * MIB])

    async def work() -> None:
        image = await store.pull(ref)
        assert store.content.has(blob.digest) and image.size_bytes == len(data)
        await store.remove(ref)

    with watchdog.watching():
        await asyncio.create_task(work())


async def test_many_images_with_long_configs(tmp_path: Path) -> None:
    """A large index is written, read off the loop, and its images are removed."""
    store = ImageStore(tmp_path / "images", settings=FAST)
    labels = {f"label-{number}": "x" * 200 for number in range(2000)}
    archives = [
        docker_archive([image_of(f"i{number}:1", one_file("a", str(number)), Labels=labels)])
        for number in range(6)
    ]

    async def work() -> None:
        for archive in archives:
            await store.load(io.BytesIO(archive))
        await store.tag("i0:1", "other:1")
        await store.prune(all_unused=True)

    with watchdog.watching():
        await asyncio.create_task(work())
    assert json.loads((store.root / "images.json").read_text())["images"] == []
