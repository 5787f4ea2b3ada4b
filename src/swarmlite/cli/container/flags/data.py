"""Flags of what is mounted: volumes, binds, tmpfs, other containers' volumes."""

from __future__ import annotations

from typing import Any

from swarmlite.cli.workdir import absolute
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.proto.types_pb2 import Mount
from swarmlite.stack.syntax import mounts, volumes

from .table import Row, extend, listed


def _volume(text_: str) -> Mount:
    mount = volumes.parse(text_)
    if mount.type == Mount.BIND:
        mount.source = absolute(mount.source)
        mount.bind_options.create_mountpoint = True
    elif mount.source:
        volumes.check_name(mount.source)
    mounts.check(mount)
    return mount


def _mount(text_: str) -> Mount:
    mount = mounts.parse(text_, relative=True)
    if mount.type == Mount.BIND:
        mount.source = absolute(mount.source)
    return mount


def _tmpfs(text_: str) -> Mount:
    mount = volumes.parse_tmpfs(text_)
    mounts.check(mount)
    return mount


def _volumes_from(text_: str) -> str:
    name, colon, mode = text_.partition(":")
    if not name or (colon and mode not in ("ro", "rw", "z", "Z")):
        raise InvalidSpec("expected CONTAINER[:ro|rw]")
    return text_


def _driver(text_: str) -> str:
    if text_ not in ("", "local"):
        raise InvalidSpec("the only volume driver is local")
    return text_


def _ignore(config: ContainerConfig, value: Any) -> None:
    """--volume-driver: local is the only one."""


ROWS = [
    Row(("-v", "--volume"), extend("spec.mounts"), listed(_volume), "Bind mount a volume", True),
    Row(
        ("--mount",),
        extend("spec.mounts"),
        listed(_mount),
        "Attach a filesystem mount to the container",
        True,
    ),
    Row(("--tmpfs",), extend("spec.mounts"), listed(_tmpfs), "Mount a tmpfs directory", True),
    Row(
        ("--volumes-from",),
        extend("volumes_from"),
        listed(_volumes_from),
        "Mount volumes from the specified container(s)",
        True,
    ),
    Row(("--volume-driver",), _ignore, listed(_driver), "Optional volume driver (local)"),
]
