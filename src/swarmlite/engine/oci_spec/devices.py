"""The devices of a container: those named, whole directories of them, or the host's all."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from typing import Any

from swarmlite.errors import InvalidSpec
from swarmlite.model.devices import parse
from swarmlite.proto.containers_pb2 import ContainerConfig

RULE = re.compile(r"([abc]) ([0-9]{1,6}|\*):([0-9]{1,6}|\*) ([rwm]{1,3})")
MAX_DEVICES = 4096
SKIPPED = (
    "/dev/pts",
    "/dev/shm",
    "/dev/fd",
    "/dev/mqueue",
    "/dev/.lxc",
    "/dev/.lxd-mounts",
    "/dev/.udev",
)
Device = dict[str, Any]


def add(spec: dict[str, Any], config: ContainerConfig) -> None:
    """Add nodes and rules to an OCI spec. Raises InvalidSpec for what is not there."""
    if config.spec.privileged:
        spec["linux"]["devices"] = list(_below("/dev", "/dev"))
        spec["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
        return
    nodes: list[Device] = []
    rules: list[Device] = []
    for text in config.spec.devices:
        for node, access in _mapping(text):
            nodes.append(node)
            rules.append(_rule(node["type"], node["major"], node["minor"], access))
    for text in config.resources.device_cgroup_rules:
        rules.append(_parsed(text))
    if nodes:
        spec["linux"]["devices"] = nodes
    if rules:
        spec["linux"]["resources"]["devices"] = [*spec["linux"]["resources"]["devices"], *rules]


def _mapping(text: str) -> Iterator[tuple[Device, str]]:
    source, target, access = parse(text)
    try:
        kind = os.stat(source).st_mode  # noqa: PTH116
    except OSError as error:
        raise InvalidSpec(
            f"error gathering device information while adding custom device {source!r}: "
            f"{(error.strerror or '').lower()}"
        ) from error
    if stat.S_ISDIR(kind):
        yield from ((node, access) for node in _below(source, target))
        return
    if not (stat.S_ISCHR(kind) or stat.S_ISBLK(kind)):
        raise InvalidSpec(f"--device {source}: is not a device")
    yield _node(source, target), access


def _below(source: str, target: str) -> Iterator[Device]:
    """The nodes below a directory; links are left out, as Docker leaves them."""
    found = 0
    for folder, folders, names in os.walk(source):
        folders[:] = [name for name in folders if f"{folder}/{name}" not in SKIPPED]
        for name in names:
            path = f"{folder}/{name}"
            try:
                mode = os.lstat(path).st_mode
            except OSError:
                continue
            if path == "/dev/console" or not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
                continue
            found += 1
            if found > MAX_DEVICES:
                raise InvalidSpec(f"--device {source}: more than {MAX_DEVICES} devices")
            yield _node(path, target + path[len(source) :])


def _node(source: str, target: str) -> Device:
    status = os.stat(source)  # noqa: PTH116
    return {
        "path": target,
        "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": status.st_mode & 0o7777,
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def _rule(kind: str, major: int | None, minor: int | None, access: str) -> Device:
    rule: Device = {"allow": True, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule


def check_rule(text: str) -> None:
    """Raise InvalidSpec for a rule of another form than `c 1:3 rwm`."""
    _parsed(text)


def _parsed(text: str) -> Device:
    matched = RULE.fullmatch(text)
    if matched is None:
        raise InvalidSpec(f"invalid device cgroup format {text[:60]!r}: expected 'c 1:3 rwm'")
    kind, major, minor, access = matched.groups()
    return _rule(
        kind, None if major == "*" else int(major), None if minor == "*" else int(minor), access
    )
