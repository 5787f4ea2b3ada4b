"""Pulls, loads, pushes, saves, images made of them, removals and prunes of the same layers at once.

What is used is never collected, and what is given on is whole.
"""

import asyncio
import contextlib
import io
import os
import random
import tarfile

from image_world import image_of, needs_root, one_file

from swarmlite.errors import FailedPrecondition, NotFound
from swarmlite.storage.images.store import ImageStore
from swarmlite.testing.oci import digest, docker_archive
from swarmlite.testing.registry import Registry

pytestmark = needs_root


async def test_everything_at_once(registry: Registry, store: ImageStore) -> None:
    base = one_file("base", os.urandom(200_000))
    built = [image_of(f"once{n}:1", base, one_file("own", os.urandom(50_000))) for n in range(3)]
    refs = [await asyncio.to_thread(registry.push, image) for image in built]
    archives = [docker_archive([image]) for image in built]
    going = True

    async def disturb() -> None:
        while going:
            await store.prune(all_unused=True)
            with contextlib.suppress(NotFound, FailedPrecondition):
                await store.remove(random.choice(refs))
            await asyncio.sleep(0)

    async def use(number: int) -> None:
        owner = f"container/{number}"
        for turn in range(4):
            which = (number + turn) % len(refs)
            image = await store.pull(refs[which], owner=owner)
            if turn % 2:
                with contextlib.suppress(NotFound, FailedPrecondition):
                    await store.load(io.BytesIO(archives[which]))
            for lower in store.lower_dirs(store.get(image.id)):
                assert next(lower.iterdir()).stat().st_size > 10_000
            entry = store._catalog.index.entries[image.id]
            for blob in entry.blobs:
                assert store.content.has(blob)
            store.leases.release(owner)

    async def give(number: int) -> None:
        """What a removal comes before is refused; what is begun is ended whole."""
        for turn in range(4):
            which = (number + turn) % len(refs)
            target = f"{registry.address}/given{number}-{turn}:1"
            with contextlib.suppress(NotFound, FailedPrecondition):
                await store.pull(refs[which])
                await store.tag(refs[which], target)
                (pushed,) = await store.push(target)
                assert pushed.digest == digest(built[which].manifest)
            with contextlib.suppress(NotFound, FailedPrecondition):
                pieces = await asyncio.to_thread(store.save, [refs[which]])
                archive = await asyncio.to_thread(b"".join, pieces)
                with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                    for name in tar.getnames():
                        if name.startswith("blobs/sha256/"):
                            data = tar.extractfile(name).read()  # type: ignore[union-attr]
                            assert digest(data)[7:] == name.rpartition("/")[2]
            owner = f"making/{number}-{turn}"
            image = await store.pull(refs[which], owner=owner)
            made = await store.make({"os": "linux"}, io.BytesIO(one_file("m", owner)), base=image)
            assert made.layers[:-1] == image.layers
            store.leases.release(owner)

    disturbing = asyncio.create_task(disturb())
    try:
        await asyncio.gather(*(use(number) for number in range(4)), *map(give, range(2)))
    finally:
        going = False
        await disturbing
    await store.prune(all_unused=True)
    assert store.list() == [] and list(store.content.digests()) == []
    assert list((store.root / "layers").iterdir()) == []
    assert list((store.root / "l").iterdir()) == []
