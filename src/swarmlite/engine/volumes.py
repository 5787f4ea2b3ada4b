"""Volumes of one container, by the node's volume store: named ones kept, anonymous ones its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from swarmlite.errors import InvalidSpec
from swarmlite.proto.types_pb2 import Mount
from swarmlite.storage.volumes.store import VolumeStore

CONTAINER_LABEL = "swarmlite.container"


class ContainerVolumes:
    """mounts.Volumes over a VolumeStore."""

    def __init__(self, store: VolumeStore, container_id: str, lower_dirs: Sequence[Path]) -> None:
        """`lower_dirs` of the image, topmost first: what an empty volume is filled from."""
        self._store = store
        self._container_id = container_id
        self._lower_dirs = lower_dirs

    def provide(self, name: str, mount: Mount, target: str) -> Path:
        """See mounts.Volumes. Raises InvalidSpec for a subpath that is not there."""
        options = mount.volume_options
        volume = self._store.create(
            name or _anonymous(self._container_id, target),
            driver=options.driver_config.name or "local",
            labels=dict(options.labels) if name else {CONTAINER_LABEL: self._container_id},
            options=dict(options.driver_config.options),
        )
        mountpoint = self._store.mount(volume.name)
        if not options.nocopy and not options.subpath:
            self._store.copy_up(volume.name, self._lower_dirs, target)
        return self._inside(mountpoint, options.subpath)

    def _inside(self, mountpoint: Path, subpath: str) -> Path:
        """The subpath below the volume; symbolic links do not lead out of it."""
        if not subpath:
            return mountpoint
        path = (mountpoint / subpath).resolve()
        if not path.is_relative_to(mountpoint.resolve()):
            raise InvalidSpec(f"the subpath {subpath!r} leads out of its volume")
        if not path.exists():
            raise InvalidSpec(f"the subpath {subpath!r} is not in its volume")
        return path


def remove_anonymous(store: VolumeStore, container_id: str) -> None:
    """Remove the anonymous volumes of a container that is gone; safe to repeat."""
    for volume in store.list():
        if volume.labels.get(CONTAINER_LABEL) == container_id:
            store.remove(volume.name, force=True)


def _anonymous(container_id: str, target: str) -> str:
    return hashlib.sha256(f"{container_id}\0{target}".encode()).hexdigest()
