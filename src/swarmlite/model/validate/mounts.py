"""What mounts may say."""

from __future__ import annotations

import posixpath

from swarmlite.errors import InvalidSpec
from swarmlite.model.references import Reference
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount

from . import checks

_RESERVED = ("/", "/proc", "/sys", "/dev")
_BINDABLE = ("/sys", "/dev")
"""Of the reserved ones, those that a bind of the host's own may replace, as monitoring does."""
_OPTIONS = {
    Mount.BIND: "bind_options",
    Mount.VOLUME: "volume_options",
    Mount.TMPFS: "tmpfs_options",
    Mount.IMAGE: "image_options",
}


def normal(target: str) -> str:
    """A target without doubled slashes and dots, to compare by."""
    return posixpath.normpath(target).replace("//", "/") if target else ""


def validate_mounts(spec: ContainerSpec) -> None:
    """Raise InvalidSpec for the first mount that breaks a rule."""
    for mount in spec.mounts:
        _mount(mount)
    checks.unique("--mount target", [normal(mount.target) for mount in spec.mounts])


def check_target(where: str, target: str, *, bind: bool = False) -> None:
    """Raise InvalidSpec for a place in a container that nothing may be mounted on.

    The one rule for a spec's mounts, for what templates make of them, and for an image's volumes.
    `bind`: what is mounted is a path of the host's.
    """
    checks.path(where, target)
    place = normal(target)
    if place in _RESERVED and not (bind and place in _BINDABLE):
        raise InvalidSpec(f"{where}: the container's own {place} cannot be replaced")


def _mount(mount: Mount) -> None:
    where = f"--mount target={mount.target[:80]}"
    if not mount.target:
        raise InvalidSpec(f"--mount source={mount.source[:80]}: target must be provided")
    for value in (mount.target, mount.source):
        checks.template(where, value)
        checks.text(where, value)
    check_target(where, mount.target, bind=mount.type == Mount.BIND)
    _source(where, mount)
    for kind, field in _OPTIONS.items():
        if kind != mount.type and mount.HasField(field) and getattr(mount, field).ListFields():  # type: ignore[arg-type]
            name = Mount.Type.Name(mount.type).lower()
            raise InvalidSpec(f"{where}: {field.replace('_', ' ')} cannot be used with type={name}")
    _volume(where, mount)
    checks.between(f"{where}: tmpfs-size", mount.tmpfs_options.size_bytes, 0, 2**62)
    checks.between(f"{where}: tmpfs-mode", mount.tmpfs_options.mode, 0, 0o7777)


def _source(where: str, mount: Mount) -> None:
    if mount.type == Mount.BIND:
        if not mount.source:
            raise InvalidSpec(f"{where}: type=bind needs a source")
        checks.path(f"{where}: source", mount.source)
    elif mount.type == Mount.VOLUME:
        if mount.source and "{{" not in mount.source:
            checks.object_name(f"{where}: volume", mount.source, longest=255)
    elif mount.type == Mount.IMAGE:
        if not mount.source:
            raise InvalidSpec(f"{where}: type=image needs a source: source=IMAGE")
        if "{{" not in mount.source:
            Reference.parse(mount.source)
        if mount.image_options.subpath.startswith("/"):
            raise InvalidSpec(f"{where}: image-subpath must be relative")
    elif mount.type == Mount.TMPFS and mount.source:
        raise InvalidSpec(f"{where}: type=tmpfs takes no source")


def _volume(where: str, mount: Mount) -> None:
    options = mount.volume_options
    checks.labels(f"{where}: volume-label", options.labels)
    if options.subpath:
        checks.path(f"{where}: volume-subpath", "/" + options.subpath)
        if options.subpath.startswith("/"):
            raise InvalidSpec(f"{where}: volume-subpath must be relative")
    for values in (options.labels, options.driver_config.options):
        for value in values.values():
            checks.text(where, value, lines=True)
            checks.template(where, value)
