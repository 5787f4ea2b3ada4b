"""Flags of what a container shares with its host: namespaces, devices, capabilities, security."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swarmlite.cli.lazy import parsed
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.stack.syntax import capabilities, security

from .table import Row, extend, listed, text


def _cgroupns(value: str) -> str:
    if value not in ("", "private", "host"):
        raise InvalidSpec("expected private or host")
    return value


def _capabilities(field: str) -> Callable[[ContainerConfig, Any], None]:
    def apply(config: ContainerConfig, values: list[str]) -> None:
        getattr(config.spec, field)[:] = dict.fromkeys(values)

    return apply


def _security(config: ContainerConfig, values: list[str]) -> None:
    for value in values:
        security.option(config.spec, value)


ROWS = [
    Row(
        ("--privileged",),
        text("spec.privileged"),
        bool,
        "Give extended privileges to this container",
    ),
    Row(
        ("--cap-add",),
        _capabilities("capability_add"),
        listed(capabilities.parse),
        "Add Linux capabilities",
        True,
    ),
    Row(
        ("--cap-drop",),
        _capabilities("capability_drop"),
        listed(capabilities.parse),
        "Drop Linux capabilities",
        True,
    ),
    Row(("--security-opt",), _security, help="Security options", many=True),
    Row(
        ("--device",),
        extend("spec.devices"),
        help="Add a host device to the container",
        many=True,
    ),
    Row(
        ("--device-cgroup-rule",),
        extend("resources.device_cgroup_rules"),
        help="Add a rule to the cgroup allowed devices list",
        many=True,
    ),
    Row(
        ("--pid",),
        text("spec.pid_mode"),
        parsed(security.namespace("pid", joins=True)),
        "PID namespace to use",
    ),
    Row(
        ("--ipc",),
        text("spec.ipc_mode"),
        parsed(security.namespace("ipc", joins=True)),
        "IPC mode to use",
    ),
    Row(
        ("--uts",), text("spec.uts_mode"), parsed(security.namespace("uts")), "UTS namespace to use"
    ),
    Row(
        ("--userns",),
        text("spec.userns_mode"),
        parsed(security.namespace("userns")),
        "User namespace to use",
    ),
    Row(
        ("--cgroupns",),
        text("spec.cgroupns_mode"),
        parsed(_cgroupns),
        "Cgroup namespace to use (host|private)",
    ),
]
