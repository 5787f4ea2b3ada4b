"""What a container's mounts are on this host: volumes made and filled, binds found, and the OCI's
words for each. Everything here blocks and is called on a thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from swarmlite.engine import mount_plan
from swarmlite.engine.records import OWNER, Record
from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.proto.containers_pb2 import MountPoint
from swarmlite.proto.types_pb2 import Mount
from swarmlite.storage.leases import Leases
from swarmlite.storage.volumes.store import ANONYMOUS_LABEL, Volume, VolumeStore

OCIMount = dict[str, Any]
CONTAINER_LABEL = "swarmlite.container"


class ContainerMounts:
    """For all containers of a host."""

    def __init__(self, store: VolumeStore, leases: Leases) -> None:
        """Both are the host's own."""
        self._store, self._leases = store, leases

    def provide(
        self,
        record: Record,
        mounts: Sequence[Mount],
        lower_dirs: Sequence[Path],
        made: Callable[[str], None],
    ) -> list[MountPoint]:
        """Make and fill volumes, check binds; what `inspect` shows of each.

        `lower_dirs` of the image, topmost first: what an empty volume is filled from; `made` hears
        the names of those that were not there. Raises InvalidSpec, AlreadyExists for a volume with
        other options, ResourceExhausted.
        """
        return [self._provide(record, mount, lower_dirs, made) for mount in mounts]

    def _provide(
        self,
        record: Record,
        mount: Mount,
        lower_dirs: Sequence[Path],
        made: Callable[[str], None],
    ) -> MountPoint:
        point = MountPoint(type=mount.type, destination=mount.target, rw=not mount.readonly)
        point.mode = mount.bind_text
        if mount.type == Mount.VOLUME:
            known = mount.source in self._store
            volume = self._volume(record, mount)
            if not known:
                made(volume.name)
            if not mount.volume_options.nocopy and not mount.volume_options.subpath:
                self._store.copy_up(volume.name, lower_dirs, mount.target)
            point.name, point.driver = volume.name, volume.driver
            point.source = str(volume.mountpoint)
            if mount.source != mount_plan.anonymous(record.id, mount.target):
                point.mode = point.mode or "z"  # Docker's default for a volume with a name
        elif mount.type == Mount.BIND:
            _find_bind(mount)
            point.source = mount.source
            point.propagation = _propagation(mount)
        return point

    def _volume(self, record: Record, mount: Mount) -> Volume:
        options = mount.volume_options
        own = mount.source == mount_plan.anonymous(record.id, mount.target)
        labels = {CONTAINER_LABEL: record.id, ANONYMOUS_LABEL: ""} if own else options.labels
        return self._store.create(
            mount.source,
            driver=options.driver_config.name or "local",
            labels=dict(labels),
            options=dict(options.driver_config.options),
            owner=record.owner,
        )

    def oci(
        self, mounts: Sequence[Mount], image_mount: ImageMount, *, own_ids: bool = False
    ) -> list[OCIMount]:
        """The OCI's mounts, at each start; what a volume's options name is mounted then.

        `image_mount` makes that of an image; with `own_ids` volumes show the container's ids.
        Raises SwarmliteError.
        """
        return [self._oci(mount, image_mount, own_ids) for mount in mounts]

    def _oci(self, mount: Mount, image_mount: ImageMount, own_ids: bool) -> OCIMount:
        if mount.type == Mount.BIND:
            _find_bind(mount)
            recursion = "bind" if mount.bind_options.nonrecursive else "rbind"
            options = [recursion, _propagation(mount), _writable(mount)]
            return _bind(Path(mount.source), mount.target, options)
        if mount.type == Mount.VOLUME:
            source = _inside(self._store.mount(mount.source), mount.volume_options.subpath)
            options = ["rbind", "rprivate", "rro" if mount.readonly else "rw"]
            return _bind(source, mount.target, [*options, *(["ridmap"] if own_ids else [])])
        if mount.type == Mount.TMPFS:
            return _tmpfs(mount)
        if mount.type == Mount.IMAGE:
            return image_mount(mount)
        kind = Mount.Type.Name(mount.type).lower()
        raise InvalidSpec(f"mounts of type {kind} are not supported: use bind, volume or tmpfs")

    def remove_anonymous(self, container_id: str) -> list[str]:
        """Remove the anonymous volumes of a container that is about to go; safe to repeat.

        Nothing is held for it any longer. Returns the names of those that are gone.
        """
        gone = []
        self._leases.release(OWNER + container_id)
        for volume in self._store.list():
            if volume.labels.get(CONTAINER_LABEL) == container_id:
                with contextlib.suppress(FailedPrecondition):  # another has it by volumes_from
                    self._store.remove(volume.name, force=True)
                    gone.append(volume.name)
        return gone


ImageMount = Callable[[Mount], OCIMount]


def _find_bind(mount: Mount) -> None:
    source = Path(mount.source)
    if not source.is_absolute():
        raise InvalidSpec(f"invalid bind source {mount.source!r}: it must be an absolute path")
    if source.exists():
        return
    if not mount.bind_options.create_mountpoint:
        raise InvalidSpec(
            f'invalid mount config for type "bind": bind source path does not exist: {source}'
        )
    try:
        source.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FailedPrecondition(
            f"the bind source {source} cannot be made: {error.strerror}"
        ) from error


def _propagation(mount: Mount) -> str:
    return Mount.BindOptions.Propagation.Name(mount.bind_options.propagation).lower()


def _writable(mount: Mount) -> str:
    if not mount.readonly:
        return "rw"
    options = mount.bind_options
    recursive = not (options.readonly_nonrecursive or options.nonrecursive)
    return "rro" if recursive else "ro"


def _bind(source: Path, target: str, options: list[str]) -> OCIMount:
    return {"destination": target, "type": "bind", "source": str(source), "options": options}


def _inside(mountpoint: Path, subpath: str) -> Path:
    """The subpath below the volume; symbolic links do not lead out of it."""
    if not subpath:
        return mountpoint
    path = (mountpoint / subpath).resolve()
    if not path.is_relative_to(mountpoint.resolve()):
        raise InvalidSpec(f"the subpath {subpath!r} leads out of its volume")
    if not path.exists():
        raise InvalidSpec(f"the subpath {subpath!r} is not in its volume")
    return path


def _tmpfs(mount: Mount) -> OCIMount:
    options = ["noexec", "nosuid", "nodev", "rprivate"]
    asked = mount.tmpfs_options
    # An option of the user's takes the default's place: exec in place of noexec.
    own = [option for option in asked.options if option]
    options = [option for option in options if option.removeprefix("no") not in own]
    options.append(f"mode={(asked.mode or 0o1777) & 0o7777:o}")
    if asked.size_bytes:
        options.append(f"size={asked.size_bytes}")
    if mount.readonly:
        options.append("ro")
    return {
        "destination": mount.target,
        "type": "tmpfs",
        "source": "tmpfs",
        "options": [*options, *own],
    }
