"""What a container may do: capabilities, system calls, what of /proc and /sys it sees."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from swarmlite.engine import process_spec
from swarmlite.engine.oci_spec import seccomp
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Privileges
from swarmlite.runtime.oci import capabilities

SYSTEM_PATHS = "systempaths"
LABELS = ("label", "apparmor", SYSTEM_PATHS)


def capabilities_of(spec: ContainerSpec) -> dict[str, list[str]]:
    """The three sets. ALL, and what is privileged, is all that this host's root has to give."""
    kept: Sequence[str]
    if spec.privileged:
        kept = host_capabilities()
    else:
        kept = process_spec.capabilities(
            capabilities.DEFAULT, spec.capability_add, spec.capability_drop
        )
        if "CAP_ALL" in kept:
            dropped = process_spec.capabilities((), spec.capability_drop, ())
            kept = [name for name in host_capabilities() if name not in dropped]
    for name in kept:
        if name not in capabilities.NUMBERS:
            raise InvalidSpec(f"unknown capability {name}")
    return {kind: list(kept) for kind in ("bounding", "effective", "permitted")}


@functools.cache
def host_capabilities() -> tuple[str, ...]:
    """Those that a process of this host can be given. Source: proc(5), CapBnd."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    bounding = int(fields["CapBnd"], 16)
    return tuple(name for name, number in capabilities.NUMBERS.items() if bounding >> number & 1)


def apply(spec: dict[str, Any], config: ContainerConfig) -> None:
    """Seccomp, no_new_privs, and the paths that are hidden or made read-only."""
    asked = config.spec
    if asked.privileges.no_new_privileges:
        spec["process"]["noNewPrivileges"] = True
    if asked.privileged:
        _open_up(spec)
    elif f"{SYSTEM_PATHS}=unconfined" in asked.security_options:
        _show_paths(spec)
    _seccomp(spec, asked)


def _open_up(spec: dict[str, Any]) -> None:
    _show_paths(spec)
    for index, mount in enumerate(spec["mounts"]):
        if mount.get("type") in ("sysfs", "cgroup", "proc"):
            options = [option for option in mount["options"] if option != "ro"]
            spec["mounts"][index] = {**mount, "options": options}


def _show_paths(spec: dict[str, Any]) -> None:
    spec["linux"]["maskedPaths"], spec["linux"]["readonlyPaths"] = [], []


def _seccomp(spec: dict[str, Any], asked: ContainerSpec) -> None:
    chosen = asked.privileges.seccomp
    if chosen.mode == Privileges.SeccompOpts.CUSTOM:
        held = spec["process"]["capabilities"]["bounding"]
        spec["linux"]["seccomp"] = seccomp.translate(chosen.profile, held)
        spec["annotations"].pop("swarmlite.seccomp", None)
    elif chosen.mode == Privileges.SeccompOpts.UNCONFINED or asked.privileged:
        spec["annotations"]["swarmlite.seccomp"] = "unconfined"


def check_options(spec: ContainerSpec) -> list[str]:
    """Warnings for options that this host has nothing for. Raises InvalidSpec for unknown ones."""
    warnings = []
    for option in spec.security_options:
        kind, equals, value = option.partition("=")
        if not equals or kind not in LABELS:
            raise InvalidSpec(f"invalid --security-opt {option[:60]!r}")
        if kind == SYSTEM_PATHS and value != "unconfined":
            raise InvalidSpec(f"invalid --security-opt {option[:60]!r}: expected unconfined")
        if kind == "apparmor" and value not in ("unconfined", "docker-default"):
            warnings.append(f"AppArmor profiles are not applied: {value} was left out")
        if kind == "label" and value != "disable":
            warnings.append(f"SELinux labels are not applied: {value} was left out")
    return warnings
