"""What this node is: hostname, platform, size, kernel, and which features of it were found."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterable
from pathlib import Path

from swarmlite import __version__
from swarmlite.kernel.mounting import has_filesystem
from swarmlite.proto.types_pb2 import (
    EngineDescription,
    GenericResource,
    NodeDescription,
    Platform,
    Resources,
)
from swarmlite.storage.images.types import Platform as HostPlatform

NANO = 1_000_000_000
FILESYSTEMS = ("overlay", "tmpfs", "mqueue")


def describe(
    *,
    data_path_addr: str,
    cgroup: str,
    labels: dict[str, str] | None = None,
    generic: Iterable[GenericResource] = (),
    allowed: Iterable[str] = (),
) -> NodeDescription:
    """The node as it is now; `cgroup` is the supervisor's word: v1, v2 or hybrid."""
    host = HostPlatform.of_host()
    return NodeDescription(
        hostname=socket.gethostname(),
        platform=Platform(architecture=host.architecture, os=host.os),
        resources=Resources(
            nano_cpus=len(os.sched_getaffinity(0)) * NANO,
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            generic=generic,
        ),
        engine=EngineDescription(
            engine_version=__version__,
            labels=labels or {},
            runtimes=["swarmlite"],
            capabilities=[f"cgroup.{cgroup}", *features()],
            allowed=allowed,
        ),
        data_path_addr=data_path_addr,
        kernel_version=platform.release(),
        os_name=os_name(),
    )


def features() -> list[str]:
    """Kernel features that can be seen without trying them."""
    found = [f"filesystem.{name}" for name in FILESYSTEMS if has_filesystem(name)]
    if Path("/proc/sys/kernel/seccomp").is_dir():
        found.append("seccomp")
    if Path("/sys/module/apparmor").is_dir():
        found.append("apparmor")
    return found


def warnings() -> list[str]:
    """What this host lacks, one line each."""
    missing = []
    if not has_filesystem("overlay"):
        missing.append("no overlay file system: images cannot be used (modprobe overlay)")
    if not Path("/proc/sys/kernel/seccomp").is_dir():
        missing.append("no seccomp: containers run without a system call filter")
    return missing


def os_name() -> str:
    """The distribution's name, from os-release(5)."""
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"
