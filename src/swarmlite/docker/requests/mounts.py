"""Mounts as they are asked for: Binds, Tmpfs, Volumes, and the objects of Mounts."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from swarmlite.docker.fields import Fields
from swarmlite.errors import InvalidSpec
from swarmlite.proto.types_pb2 import Mount

_TYPES = {
    "bind": Mount.BIND,
    "volume": Mount.VOLUME,
    "tmpfs": Mount.TMPFS,
    "npipe": Mount.NPIPE,
    "cluster": Mount.CLUSTER,
    "image": Mount.IMAGE,
}
_CONSISTENCIES = {
    "": Mount.DEFAULT,
    "default": Mount.DEFAULT,
    "consistent": Mount.CONSISTENT,
    "cached": Mount.CACHED,
    "delegated": Mount.DELEGATED,
}
_PROPAGATIONS = {name.lower(): value for name, value in Mount.BindOptions.Propagation.items()}


def mount(fields: Fields) -> Mount:
    """One object of Mounts, of a container or a service."""
    kind = fields.text("Type").lower()
    if kind not in _TYPES:
        raise fields.wrong("Type", f'mount type unknown: "{kind}"')
    made = Mount(
        type=_TYPES[kind],
        source=fields.text("Source"),
        target=fields.text("Target"),
        readonly=fields.flag("ReadOnly"),
    )
    consistency = fields.text("Consistency").lower()
    if consistency not in _CONSISTENCIES:
        raise fields.wrong("Consistency", f"unknown: {consistency[:40]!r}")
    made.consistency = _CONSISTENCIES[consistency]
    if fields.has("BindOptions"):
        _bind_options(made, fields.object("BindOptions"))
    if fields.has("VolumeOptions"):
        _volume_options(made, fields.object("VolumeOptions"))
    if fields.has("TmpfsOptions"):
        _tmpfs_options(made, fields.object("TmpfsOptions"))
    if fields.has("ImageOptions"):
        made.image_options.subpath = fields.object("ImageOptions").text("Subpath")
    return made


def _bind_options(made: Mount, fields: Fields) -> None:
    options = made.bind_options
    name = fields.text("Propagation")
    if name:
        options.propagation = _propagation(name, fields)
    options.nonrecursive = fields.flag("NonRecursive")
    options.create_mountpoint = fields.flag("CreateMountpoint")
    options.readonly_nonrecursive = fields.flag("ReadOnlyNonRecursive")
    options.readonly_force_recursive = fields.flag("ReadOnlyForceRecursive")


def _propagation(name: str, fields: Fields) -> Mount.BindOptions.Propagation.ValueType:
    if name not in _PROPAGATIONS:
        raise fields.wrong("Propagation", f'invalid propagation mode "{name[:40]}"')
    return _PROPAGATIONS[name]


def _volume_options(made: Mount, fields: Fields) -> None:
    options = made.volume_options
    options.nocopy = fields.flag("NoCopy")
    options.labels.update(fields.mapping("Labels"))
    options.subpath = fields.text("Subpath")
    driver = fields.object("DriverConfig")
    options.driver_config.name = driver.text("Name")
    options.driver_config.options.update(driver.mapping("Options"))


def _tmpfs_options(made: Mount, fields: Fields) -> None:
    options = made.tmpfs_options
    options.size_bytes = fields.number("SizeBytes")
    mode = fields.number("Mode")
    if not 0 <= mode <= 0o7777:
        raise fields.wrong("Mode", f"{mode} is not a file mode")
    options.mode = mode
    for index, pair in enumerate(fields.items("Options")):
        if not (isinstance(pair, list) and pair and all(isinstance(p, str) for p in pair)):
            raise fields.wrong(f"Options[{index}]", "expected a list of one or two strings")
        options.options.append("=".join(pair))


def bind(text: str, volume_driver: str = "") -> Mount:
    """One of Binds: SOURCE:TARGET[:OPTIONS], a path of the host or a volume's name; or TARGET."""
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(parts[:2]) or "\0" in text:
        raise InvalidSpec(f'invalid volume specification: "{text[:200]}"')
    source = parts[0] if len(parts) > 1 else ""
    made = Mount(type=Mount.VOLUME, source=source, target=parts[1] if source else parts[0])
    if not made.target.startswith("/"):
        raise InvalidSpec(
            f'invalid volume specification: "{text[:200]}": invalid mount path:'
            f' "{made.target[:100]}" mount path must be absolute'
        )
    if source.startswith("/"):
        made.type = Mount.BIND
        made.bind_options.create_mountpoint = True
    elif source and volume_driver:
        made.volume_options.driver_config.name = volume_driver
    for option in parts[2].split(",") if len(parts) == 3 else ():
        _option(made, option, text)
    return made


def _option(made: Mount, option: str, text: str) -> None:
    if option in ("ro", "rw"):
        made.readonly = option == "ro"
    elif option == "nocopy" and made.type == Mount.VOLUME:
        made.volume_options.nocopy = True
    elif option in _PROPAGATIONS and made.type == Mount.BIND:
        made.bind_options.propagation = _PROPAGATIONS[option]
    elif option in _CONSISTENCIES and option:
        made.consistency = _CONSISTENCIES[option]
    elif option not in ("z", "Z", ""):
        raise InvalidSpec(f'invalid volume specification: "{text[:200]}": unknown mode {option!r}')


def tmpfs(target: str, options: str) -> Mount:
    """One of Tmpfs: options as mount(8) knows them."""
    made = Mount(type=Mount.TMPFS, target=target)
    if options:
        made.tmpfs_options.options[:] = options.split(",")
    return made


def anonymous(targets: Iterable[str], taken: Iterable[Mount]) -> list[Mount]:
    """Config.Volumes: a volume without a name where nothing else is mounted."""
    held = {posixpath.normpath(each.target) for each in taken}
    return [
        Mount(type=Mount.VOLUME, target=target)
        for target in targets
        if posixpath.normpath(target) not in held
    ]
