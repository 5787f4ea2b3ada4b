"""The root file systems of containers: a snapshot each, by the container's id."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swarmlite.engine.records import Record
from swarmlite.errors import NotFound
from swarmlite.proto.types_pb2 import Mount
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Image
from swarmlite.storage.snapshots.types import Root, Snapshots

INIT_FOLDERS = ("proc", "sys", "dev", "etc")
INIT_FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")


class Roots:
    """Makes and removes them; the runtime mounts them inside the container's own namespace."""

    def __init__(self, images: ImageStore, snapshots: Snapshots, empty: Path) -> None:
        """`empty` is a directory that is made, and that nothing is ever put into."""
        self._images, self.snapshots, self._empty = images, snapshots, empty
        empty.mkdir(mode=0o755, parents=True, exist_ok=True)

    async def prepare(self, record: Record, image: Image) -> None:
        """The writable layer; one that is there is kept. Raises what Snapshots.prepare raises."""
        if self.snapshots.quick:
            self.snapshots.prepare(record.id, image.layers)
        else:
            await asyncio.to_thread(self.snapshots.prepare, record.id, image.layers)

    def lower_dirs(self, image: Image) -> Sequence[Path]:
        """The image's directories, topmost first. May block, unless snapshots are quick."""
        return self.snapshots.image_dirs(image.layers)

    def place(self, record: Record) -> tuple[Path, Mapping[str, str]]:
        """Where the root is, and what tells the runtime how to mount it there."""
        root = self.snapshots.root(record.id)
        if root.directory is not None:
            return root.directory, {}
        # Mounted in the container's own namespace, so one place does for all of them.
        return self._empty, {"swarmlite.overlay": root.overlay}

    def image_mount(self, mount: Mount) -> dict[str, Any]:
        """An image's files at a place, read-only. Raises NotFound, InvalidSpec."""
        where = f"--mount target={mount.target}"
        subpath = mount.image_options.subpath
        try:
            image = self._images.get(mount.source)
        except NotFound as error:
            raise NotFound(f"{where}: No such image: {mount.source}") from error
        lowers = [*self.lower_dirs(image), self._empty]  # overlayfs wants two at least
        option = Root("", tuple(lowers)).overlay
        return {
            "destination": mount.target,
            "type": "overlay",
            "source": "overlay",
            "options": ["ro", "nosuid", "nodev", option, *_subdir(subpath)],
        }

    async def remove(self, record: Record) -> None:
        """What the container wrote is gone; safe to repeat. Raises SwarmliteError."""
        await asyncio.to_thread(self.snapshots.remove, record.id)


def _subdir(subpath: str) -> list[str]:
    return [f"X-mount.subdir={subpath}"] if subpath else []


def make_init_layer(layer: Path) -> Path:
    """The layer below every image: the places that each container's mounts go to.

    What an image lacks of them would otherwise be made in each container's upper directory, and
    removed with it: seven new files, half a millisecond at a start and again at the end.
    """
    layer.mkdir(mode=0o755, parents=True, exist_ok=True)
    layer.chmod(0o755)
    for name in INIT_FOLDERS:
        (layer / name).mkdir(exist_ok=True)
        (layer / name).chmod(0o755)
    for name in INIT_FILES:
        (layer / name).touch()
        (layer / name).chmod(0o644)
    return layer
