"""A container's mounts: its own, its image's VOLUMEs and other containers' made one list. Pure."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from swarmlite.engine.records import Record
from swarmlite.errors import InvalidSpec
from swarmlite.model.validate.mounts import validate_mounts
from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount


def needs_any(config: ContainerConfig, image: Mapping[str, Any]) -> bool:
    """Whether there is anything to resolve."""
    return bool(config.spec.mounts or config.volumes_from or image.get("Volumes"))


def resolve(
    container_id: str,
    config: ContainerConfig,
    image: Mapping[str, Any],
    find: Callable[[str], Record],
) -> list[Mount]:
    """Every mount, each volume named, parents before what lies below them.

    Its own come before those of `volumes_from`, and these before the image's VOLUMEs, where two
    have one target. Raises InvalidSpec, NotFound for a container that is not there.
    """
    chosen: dict[str, Mount] = {}
    for mount in config.spec.mounts:
        chosen[target_of(mount.target)] = _copy(mount)
    for reference in config.volumes_from:
        for mount in _shared(reference, find):
            chosen.setdefault(target_of(mount.target), mount)
    for declared in sorted(_declared(image)):
        target = target_of(declared)
        chosen.setdefault(target, Mount(type=Mount.VOLUME, target=target))
    for target, mount in chosen.items():
        mount.target = target
        if mount.type == Mount.VOLUME and not mount.source:
            mount.source = anonymous(container_id, target)
    validate_mounts(ContainerSpec(mounts=chosen.values()))
    return sorted(chosen.values(), key=lambda mount: mount.target.count("/"))


def anonymous(container_id: str, target: str) -> str:
    """The name of a container's anonymous volume: the same however often a create is repeated."""
    return hashlib.sha256(f"{container_id}\0{target}".encode()).hexdigest()


def _declared(image: Mapping[str, Any]) -> list[str]:
    volumes = image.get("Volumes") or {}
    if not isinstance(volumes, dict):
        raise InvalidSpec("the image's Volumes are malformed: they must be an object")
    return [str(target) for target in volumes]


def _shared(reference: str, find: Callable[[str], Record]) -> list[Mount]:
    """The binds and volumes of another container. Source: docker-run(1), --volumes-from."""
    ref, colon, mode = reference.partition(":")
    if colon and mode not in ("ro", "rw", "z", "Z", "ro,z", "rw,z"):
        raise InvalidSpec(f"invalid mode for volumes-from: {mode!r}: use ro or rw")
    shared = []
    for mount in find(ref).message.resolved_mounts:
        if mount.type not in (Mount.BIND, Mount.VOLUME):
            continue
        copy = _copy(mount)
        copy.readonly = mount.readonly or mode.startswith("ro")
        copy.volume_options.nocopy = True
        if mount.type == Mount.BIND:
            copy.ClearField("volume_options")
        shared.append(copy)
    return shared


def target_of(target: str) -> str:
    """The place in its one form. Raises InvalidSpec for what cannot be mounted on."""
    if not target.startswith("/") or "\0" in target:
        raise InvalidSpec(f"invalid mount target {target[:80]!r}: it must be an absolute path")
    normal = posixpath.normpath("/" + target.lstrip("/"))
    if normal == "/":
        raise InvalidSpec("invalid specification: destination can't be '/'")
    return normal


def _copy(mount: Mount) -> Mount:
    copy = Mount()
    copy.CopyFrom(mount)
    return copy
