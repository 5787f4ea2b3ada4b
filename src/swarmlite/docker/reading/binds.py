"""A container's mounts in the short forms: Binds, Tmpfs, and Volumes without a name."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from swarmlite.errors import InvalidSpec
from swarmlite.proto.types_pb2 import Mount

_CONSISTENCIES = {
    "": Mount.DEFAULT,
    "default": Mount.DEFAULT,
    "consistent": Mount.CONSISTENT,
    "cached": Mount.CACHED,
    "delegated": Mount.DELEGATED,
}
_PROPAGATIONS = {name.lower(): value for name, value in Mount.BindOptions.Propagation.items()}


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
    if len(parts) == 3:
        made.bind_text = parts[2]
    options = made.bind_text.split(",")
    for option in options:
        _option(made, option, text)
    for kind in (("ro", "rw"), ("z", "Z"), ("nocopy",), _PROPAGATIONS, _CONSISTENCIES):
        if sum(bool(option) and option in kind for option in options) > 1:
            raise InvalidSpec(f"invalid mode: {made.bind_text[:80]}")
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
