"""Mounts: "type=bind,source=/data,target=/srv,readonly"."""

from __future__ import annotations

from collections.abc import Callable

from swarmlite.errors import InvalidSpec
from swarmlite.model import units
from swarmlite.proto.types_pb2 import Mount

from . import fields

TYPES = {
    "bind": Mount.BIND,
    "volume": Mount.VOLUME,
    "tmpfs": Mount.TMPFS,
    "image": Mount.IMAGE,
    "npipe": Mount.NPIPE,
    "cluster": Mount.CLUSTER,
}
CONSISTENCIES = {
    "default": Mount.DEFAULT,
    "consistent": Mount.CONSISTENT,
    "cached": Mount.CACHED,
    "delegated": Mount.DELEGATED,
}
PROPAGATIONS = {
    "rprivate": Mount.BindOptions.RPRIVATE,
    "private": Mount.BindOptions.PRIVATE,
    "rshared": Mount.BindOptions.RSHARED,
    "shared": Mount.BindOptions.SHARED,
    "rslave": Mount.BindOptions.RSLAVE,
    "slave": Mount.BindOptions.SLAVE,
}
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}


def parse(text: str, *, relative: bool = False) -> Mount:
    """The mount that the pairs describe; type is volume unless said. Raises InvalidSpec.

    `relative`: a bind's source may be a path of this host that begins with a dot.
    """
    mount = Mount(type=Mount.VOLUME)
    pairs = [(_ALIASES.get(key, key), value) for key, value in fields.split(text)]
    for key, value in pairs:
        if key not in _KEYS:
            raise fields.unknown(key, _KEYS)
        _KEYS[key](mount, key, value)
    check(mount, relative=relative)
    prefixes = {"bind": "bind-", "volume": "volume-", "tmpfs": "tmpfs-", "image": "image-"}
    kind = next(name for name, number in TYPES.items() if number == mount.type)
    for key, _ in pairs:
        for other, prefix in prefixes.items():
            if key.startswith(prefix) and other != kind:
                raise InvalidSpec(f"{key} cannot be used with type={kind}")
    return mount


def check(mount: Mount, *, relative: bool = False) -> None:
    """Refuse what no host could mount. Raises InvalidSpec."""
    if not mount.target:
        raise InvalidSpec("target is missing: target=/path/in/container")
    if not mount.target.startswith("/"):
        raise InvalidSpec(f"target {mount.target!r} is not an absolute path")
    starts = ("/", ".") if relative else ("/",)
    if mount.type == Mount.BIND and not mount.source.startswith(starts):
        raise InvalidSpec(f"source of a bind is an absolute path, not {mount.source!r}")
    if mount.type == Mount.TMPFS and mount.source:
        raise InvalidSpec("a tmpfs has no source")
    if mount.type == Mount.IMAGE and not mount.source:
        raise InvalidSpec("source is missing: source=IMAGE")
    if "\0" in mount.source + mount.target:
        raise InvalidSpec("a path holds a NUL")


def _type(mount: Mount, key: str, value: str | None) -> None:
    word = fields.required(key, value).lower()
    mount.type = Mount.Type.ValueType(fields.word(key, word, TYPES))


def _source(mount: Mount, key: str, value: str | None) -> None:
    mount.source = fields.required(key, value)


def _target(mount: Mount, key: str, value: str | None) -> None:
    mount.target = fields.required(key, value)


def _readonly(mount: Mount, key: str, value: str | None) -> None:
    mount.readonly = fields.boolean(key, value)


def _consistency(mount: Mount, key: str, value: str | None) -> None:
    number = fields.word(key, fields.required(key, value), CONSISTENCIES)
    mount.consistency = Mount.Consistency.ValueType(number)


def _propagation(mount: Mount, key: str, value: str | None) -> None:
    number = fields.word(key, fields.required(key, value), PROPAGATIONS)
    mount.bind_options.propagation = Mount.BindOptions.Propagation.ValueType(number)


def _nonrecursive(mount: Mount, key: str, value: str | None) -> None:
    mount.bind_options.nonrecursive = fields.boolean(key, value)


def _recursive(mount: Mount, key: str, value: str | None) -> None:
    set_recursive(mount, fields.required(key, value))


def set_recursive(mount: Mount, word: str) -> None:
    """bind-recursive: enabled, disabled, writable or readonly."""
    fields.word("recursive", word, {"enabled": 0, "disabled": 1, "writable": 2, "readonly": 3})
    mount.bind_options.nonrecursive = word == "disabled"
    mount.bind_options.readonly_nonrecursive = word == "writable"
    mount.bind_options.readonly_force_recursive = word == "readonly"


def _nocopy(mount: Mount, key: str, value: str | None) -> None:
    mount.volume_options.nocopy = fields.boolean(key, value)


def _volume_subpath(mount: Mount, key: str, value: str | None) -> None:
    mount.volume_options.subpath = fields.required(key, value)


def _volume_label(mount: Mount, key: str, value: str | None) -> None:
    name, text = fields.pair(fields.required(key, value))
    mount.volume_options.labels[name] = text


def _volume_driver(mount: Mount, key: str, value: str | None) -> None:
    mount.volume_options.driver_config.name = fields.required(key, value)


def _volume_opt(mount: Mount, key: str, value: str | None) -> None:
    name, text = fields.pair(fields.required(key, value))
    mount.volume_options.driver_config.options[name] = text


def _tmpfs_size(mount: Mount, key: str, value: str | None) -> None:
    mount.tmpfs_options.size_bytes = units.parse_bytes(fields.required(key, value))


def _tmpfs_mode(mount: Mount, key: str, value: str | None) -> None:
    text = fields.required(key, value)
    mount.tmpfs_options.mode = fields.number(key, text, most=0o7777, base=8)


def _image_subpath(mount: Mount, key: str, value: str | None) -> None:
    mount.image_options.subpath = fields.required(key, value)


_KEYS: dict[str, Callable[[Mount, str, str | None], None]] = {
    "type": _type,
    "source": _source,
    "target": _target,
    "readonly": _readonly,
    "consistency": _consistency,
    "bind-propagation": _propagation,
    "bind-nonrecursive": _nonrecursive,
    "bind-recursive": _recursive,
    "volume-nocopy": _nocopy,
    "volume-subpath": _volume_subpath,
    "volume-label": _volume_label,
    "volume-driver": _volume_driver,
    "volume-opt": _volume_opt,
    "tmpfs-size": _tmpfs_size,
    "tmpfs-mode": _tmpfs_mode,
    "image-subpath": _image_subpath,
}
