"""Loads, pulls, tags and removes images without end; its disk is cut off at any moment."""

import asyncio
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from swarmlite.paths import Paths
from swarmlite.storage.host import Storage
from swarmlite.storage.images.types import Limits
from swarmlite.testing.oci import BuiltImage, TarWriter, docker_archive, layer

FILES = 60


def content_of(image: int, number: int) -> bytes:
    """What a file holds follows from its name."""
    return f"{image}/{number}/".encode() * (200 + 37 * number)


def image(number: int) -> BuiltImage:
    layers = []
    for part in range(2):
        writer = TarWriter()
        for name in range(part * FILES, (part + 1) * FILES):
            writer.file(f"i{number}/{name}", content_of(number, name))
        layers.append(layer(writer.tar(), "gzip"))
    return BuiltImage(f"i{number}:1", tuple(layers))


async def main(state: Path, refs: Sequence[str]) -> None:
    limits = Limits(free_bytes=1 << 20, free_inodes=100)
    storage = Storage(Paths(state, state / "run"), limits=limits)
    archives = [docker_archive([image(number)]) for number in range(3)]
    turn = 0
    while True:
        for number, archive in enumerate(archives):
            (loaded,) = await storage.images.load(io.BytesIO(archive))
            print("loaded", flush=True)
            storage.snapshots.prepare(f"c{turn}", loaded.layers)
            await storage.images.tag(loaded.id, f"t{turn % 5}:1")
            storage.leases.hold(f"container/{turn}", images=[loaded.id], sync=turn % 2 == 0)
            if turn >= 2:
                storage.snapshots.remove(f"c{turn - 2}")
                storage.leases.release(f"container/{turn - 2}")
            await storage.images.pull(refs[turn % len(refs)])
            if number == 1:
                await storage.images.prune(all_unused=True)
            turn += 1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
