"""A task's mounts as OCI mounts: binds, volumes (made when absent), tmpfs, the image's VOLUMEs."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount

OCIMount = dict[str, Any]


class Volumes(Protocol):
    """What this module asks of the volume store; blocking, called on a thread."""

    def provide(self, name: str, mount: Mount, target: str) -> Path:
        """The data directory of the volume, made (and filled from the image at `target`) if absent.

        An empty name asks for an anonymous volume of the container's own.
        """


def resolve(spec: ContainerSpec, image: Mapping[str, Any], volumes: Volumes) -> list[OCIMount]:
    """Every mount, parents before what lies below them.

    Blocking: volumes are made and filled. Raises InvalidSpec for a source that does not exist, a
    target that is relative, or a type that is not supported.
    """
    mounts = [_mount(mount, volumes) for mount in spec.mounts]
    taken = {mount["destination"] for mount in mounts}
    for declared in sorted(image.get("Volumes") or {}):
        target = _target(declared)
        if target not in taken:
            source = volumes.provide("", Mount(type=Mount.VOLUME, target=target), target)
            mounts.append(_bind(source, target, ["rbind", "rprivate", "rw"]))
    return sorted(mounts, key=lambda mount: mount["destination"].count("/"))


def _mount(mount: Mount, volumes: Volumes) -> OCIMount:
    target = _target(mount.target)
    if mount.type == Mount.BIND:
        return _bind_mount(mount, target)
    if mount.type == Mount.VOLUME:
        source = volumes.provide(mount.source, mount, target)
        return _bind(source, target, ["rbind", "rprivate", "rro" if mount.readonly else "rw"])
    if mount.type == Mount.TMPFS:
        return _tmpfs(mount, target)
    kind = Mount.Type.Name(mount.type).lower()
    raise InvalidSpec(f"mounts of type {kind} are not supported: use bind, volume or tmpfs")


def _target(target: str) -> str:
    if not target.startswith("/") or "\0" in target:
        raise InvalidSpec(f"invalid mount target {target!r}: it must be an absolute path")
    normal = posixpath.normpath("/" + target.lstrip("/"))
    if normal == "/":
        raise InvalidSpec("invalid mount target: it must not be '/'")
    return normal


def _bind_mount(mount: Mount, target: str) -> OCIMount:
    source = Path(mount.source)
    if not source.is_absolute():
        raise InvalidSpec(f"invalid bind source {mount.source!r}: it must be an absolute path")
    options = mount.bind_options
    if not source.exists():
        if not options.create_mountpoint:
            raise InvalidSpec(
                f'invalid mount config for type "bind": bind source path does not exist: {source}'
            )
        source.mkdir(parents=True, exist_ok=True)
    propagation = Mount.BindOptions.Propagation.Name(options.propagation).lower()
    bind = "bind" if options.nonrecursive else "rbind"
    return _bind(source, target, [bind, propagation, "rro" if mount.readonly else "rw"])


def _bind(source: Path, target: str, options: list[str]) -> OCIMount:
    return {"destination": target, "type": "bind", "source": str(source), "options": options}


def _tmpfs(mount: Mount, target: str) -> OCIMount:
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
        "destination": target,
        "type": "tmpfs",
        "source": "tmpfs",
        "options": [*options, *own],
    }
