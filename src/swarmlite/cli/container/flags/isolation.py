"""Flags of what a container shares with its host: namespaces, devices, capabilities, security."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from swarmlite.cli.lazy import parsed
from swarmlite.errors import InvalidSpec
from swarmlite.model.wording import any_of
from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.proto.types_pb2 import Privileges
from swarmlite.stack.syntax import capabilities

from .table import Row, extend, listed, text

MAX_PROFILE_BYTES = 1024 * 1024


def _namespace(*words: str, joins: bool = False) -> Callable[[str], str]:
    """One of a few words, or container:REF."""

    def parse(value: str) -> str:
        other = joins and value.startswith("container:") and value != "container:"
        if value not in words and not other and value != "":
            known = [*words, *(["container:NAME"] if joins else [])]
            raise InvalidSpec(f"expected {any_of(known)}")
        return value

    return parse


def _userns(value: str) -> str:
    if value not in ("", "host", "auto") and not value.startswith("auto:"):
        raise InvalidSpec("expected host or auto")
    return value


def _capabilities(field: str) -> Callable[[ContainerConfig, Any], None]:
    def apply(config: ContainerConfig, values: list[str]) -> None:
        getattr(config.spec, field)[:] = dict.fromkeys(values)

    return apply


def _security(config: ContainerConfig, values: list[str]) -> None:
    for value in values:
        _security_option(config, value)


def _security_option(config: ContainerConfig, value: str) -> None:
    name, equals, word = value.partition("=")
    if not equals:  # the older notation
        name, _, word = value.partition(":")
    privileges = config.spec.privileges
    if name == "no-new-privileges":
        if word not in ("", "true", "false"):
            raise InvalidSpec(f"--security-opt {value}: expected true or false")
        privileges.no_new_privileges = word != "false"
    elif name == "seccomp":
        _seccomp(privileges, word)
    elif name == "apparmor" and word == "unconfined":
        privileges.apparmor.mode = Privileges.AppArmorOpts.DISABLED
    elif name in ("apparmor", "label") or value == "systempaths=unconfined":
        config.spec.security_options.append(value)
    else:
        raise InvalidSpec(
            f"--security-opt {value}: unknown; expected seccomp=FILE, seccomp=unconfined,"
            " no-new-privileges, apparmor=NAME, label=VALUE or systempaths=unconfined"
        )


def _seccomp(privileges: Privileges, word: str) -> None:
    if word == "unconfined":
        privileges.seccomp.mode = Privileges.SeccompOpts.UNCONFINED
    elif word in ("builtin", "default"):
        privileges.seccomp.mode = Privileges.SeccompOpts.DEFAULT
    elif not word:
        raise InvalidSpec("--security-opt seccomp: expected seccomp=FILE or seccomp=unconfined")
    else:
        with Path(word).open("rb") as stream:
            profile = stream.read(MAX_PROFILE_BYTES + 1)
        if len(profile) > MAX_PROFILE_BYTES:
            raise InvalidSpec(f"--security-opt seccomp={word}: larger than 1 MiB")
        check_profile(profile, word)
        privileges.seccomp.mode = Privileges.SeccompOpts.CUSTOM
        privileges.seccomp.profile = profile


def check_profile(profile: bytes, name: str) -> None:
    """Refuse a seccomp profile that is not a JSON object. Raises InvalidSpec."""
    import json

    try:
        parsed_ = json.loads(profile)
    except ValueError as error:
        raise InvalidSpec(f"--security-opt seccomp={name}: not JSON: {error}") from error
    if not isinstance(parsed_, dict):
        raise InvalidSpec(f"--security-opt seccomp={name}: expected a JSON object")


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
        parsed(_namespace("host", joins=True)),
        "PID namespace to use",
    ),
    Row(
        ("--ipc",),
        text("spec.ipc_mode"),
        parsed(_namespace("private", "shareable", "host", "none", joins=True)),
        "IPC mode to use",
    ),
    Row(("--uts",), text("spec.uts_mode"), parsed(_namespace("host")), "UTS namespace to use"),
    Row(("--userns",), text("spec.userns_mode"), parsed(_userns), "User namespace to use"),
    Row(
        ("--cgroupns",),
        text("spec.cgroupns_mode"),
        parsed(_namespace("private", "host")),
        "Cgroup namespace to use (host|private)",
    ),
]
