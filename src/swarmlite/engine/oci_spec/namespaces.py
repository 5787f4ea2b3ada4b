"""Which namespaces a container has of its own, shares with the host, or with another container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.proto.specs_pb2 import ContainerSpec

HOST = "host"
CONTAINER = "container:"
SHM_BYTES = 64 << 20


@dataclass(frozen=True)
class Joins:
    """What was found for the modes `container:REF`, and the shared memory that others may join."""

    paths: Mapping[str, str] = field(default_factory=dict)
    """By the OCI kind of namespace: `pid`, `ipc`."""
    shm: Path | None = None
    """A tmpfs on this host to bind on /dev/shm, in place of one of the container's own."""


def of(spec: ContainerSpec, netns: Path, joins: Joins) -> list[dict[str, str]]:
    """The list of the OCI spec."""
    wanted: list[dict[str, str]] = [{"type": "mount"}, {"type": "network", "path": str(netns)}]
    for kind, mode in (
        ("uts", spec.uts_mode),
        ("pid", spec.pid_mode),
        ("ipc", spec.ipc_mode),
        ("cgroup", spec.cgroupns_mode),
    ):
        if kind in joins.paths:
            wanted.append({"type": kind, "path": joins.paths[kind]})
        elif mode != HOST:
            wanted.append({"type": kind})
    return wanted


def adapt_mounts(spec: dict[str, Any], config: ContainerConfig, joins: Joins) -> None:
    """The mounts that go with the namespaces: /dev/shm, /dev/mqueue."""
    ipc = config.spec.ipc_mode
    mounts = []
    for mount in spec["mounts"]:
        place = mount["destination"]
        if place == "/dev/shm" and mount.get("source") == "shm":
            if ipc == "none":
                continue
            mount = _shm(mount, config, joins)
        elif place == "/dev/mqueue" and ipc == HOST and Path(place).is_dir():
            mount = _bind(place, place)  # a host without one shows its queues all the same
        mounts.append(mount)
    spec["mounts"] = mounts


def _shm(mount: dict[str, Any], config: ContainerConfig, joins: Joins) -> dict[str, Any]:
    if config.spec.ipc_mode == HOST:
        return _bind("/dev/shm", "/dev/shm")
    if joins.shm is not None:
        return _bind(str(joins.shm), "/dev/shm")
    if not config.spec.shm_size_bytes:
        return mount
    options = [option for option in mount["options"] if not option.startswith("size=")]
    return {**mount, "options": [*options, f"size={config.spec.shm_size_bytes}"]}


def _bind(source: str, destination: str) -> dict[str, Any]:
    return {
        "type": "bind",
        "source": source,
        "destination": destination,
        "options": ["rbind", "rprivate", "nosuid", "noexec", "nodev"],
    }
