"""Mounts in the short notation, [SOURCE:]TARGET[:OPTIONS], and tmpfs, TARGET[:OPTIONS]."""

from __future__ import annotations

import re

from swarmlite.errors import InvalidSpec
from swarmlite.proto.types_pb2 import Mount

from . import mounts

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)


def parse(text: str, example: str = "data:/var/lib/data") -> Mount:
    """A bind where SOURCE is a path (it begins with / . or ~), else a volume. Raises InvalidSpec.

    Paths are as they are written: each host follows its own links.
    """
    parts = text.split(":")
    if len(parts) > 3 or not all(parts) or "\0" in text:
        raise InvalidSpec(f"expected [SOURCE:]TARGET[:ro], for example {example}")
    source = parts[0] if len(parts) > 1 else ""
    mount = Mount(type=Mount.VOLUME, source=source, target=parts[1] if source else parts[0])
    if is_path(source):
        mount.type = Mount.BIND
    for option in parts[2].split(",") if len(parts) == 3 else ():
        _option(mount, option)
    return mount


def is_path(source: str) -> bool:
    """Whether a source is a path of the host and not the name of a volume."""
    return source.startswith(("/", ".", "~"))


def check_name(name: str) -> None:
    """Refuse a source that can be neither a volume's name nor a path. Raises InvalidSpec."""
    if not _NAME.fullmatch(name):
        raise InvalidSpec(
            f"{name!r} is not a volume's name: letters, digits, _ . and -, at least two, the first"
            " a letter or digit (a path of the host begins with / or ./)"
        )


def parse_tmpfs(text: str) -> Mount:
    """TARGET[:OPTIONS], the options as mount(8) knows them."""
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise InvalidSpec(f"expected an absolute path, not {target!r}")
    mount = Mount(type=Mount.TMPFS, target=target)
    if options:
        mount.tmpfs_options.options[:] = options.split(",")
    return mount


def _option(mount: Mount, option: str) -> None:
    if option in ("ro", "rw"):
        mount.readonly = option == "ro"
    elif option == "nocopy" and mount.type == Mount.VOLUME:
        mount.volume_options.nocopy = True
    elif option in mounts.PROPAGATIONS and mount.type == Mount.BIND:
        number = mounts.PROPAGATIONS[option]
        mount.bind_options.propagation = Mount.BindOptions.Propagation.ValueType(number)
    elif option in mounts.CONSISTENCIES:
        mount.consistency = Mount.Consistency.ValueType(mounts.CONSISTENCIES[option])
    elif option not in ("z", "Z"):
        raise InvalidSpec(f"unknown option {option!r}; expected ro, rw, nocopy or a propagation")
