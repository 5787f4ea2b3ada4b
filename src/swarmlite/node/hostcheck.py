"""What a host needs, looked at when the daemon starts: one line for each thing that is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from swarmlite.kernel.mounting import has_filesystem

from . import etcdversions

NAMESPACES = ("mnt", "net", "pid", "uts", "ipc", "cgroup")
PROBE_TIMEOUT_S = 10


@dataclass(frozen=True)
class Missing:
    """Something that this host lacks."""

    line: str
    fatal: bool = False
    """Nothing works without it."""


def check() -> list[Missing]:
    """Everything that is missing for a node of any role."""
    if os.geteuid() != 0:
        return [Missing("swarmlited must run as root: use sudo or a system service", fatal=True)]
    return [*_kernel(), *_binaries(), *_probes()]


def check_etcd(binary: str) -> str | None:
    """What is wrong with the etcd that managers need, or None."""
    if shutil.which(binary) is None:
        return f"{binary} not found: apt-get install etcd-server (needed by managers)"
    version = etcdversions.of_binary(binary)
    if version is None:
        return f"{binary} --version does not answer as etcd does"
    return etcdversions.wrong(version)


def _kernel() -> list[Missing]:
    missing = [
        Missing(f"the kernel has no {name} namespaces", fatal=True)
        for name in NAMESPACES
        if not Path(f"/proc/self/ns/{name}").exists()
    ]
    if not has_filesystem("overlay"):
        missing.append(Missing("no overlay file system: modprobe overlay, or CONFIG_OVERLAY_FS"))
    absent = {"cpu", "memory", "pids"} - _controllers()
    if absent:
        missing.append(
            Missing(
                f"no cgroup controller for {', '.join(sorted(absent))}: mount /sys/fs/cgroup,"
                " or see cgroup_enable= of the kernel's command line"
            )
        )
    return missing


def _controllers() -> set[str]:
    """The cgroup controllers that are there, on v1 or v2."""
    found: set[str] = set()
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        found.update(unified.read_text().split())
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        kind, _, options = line.partition(" - ")[2].partition(" ")
        if kind == "cgroup":
            found.update(options.split(" ")[-1].split(","))
    return found


def _binaries() -> list[Missing]:
    packages = {"ip": "iproute2", "nft": "nftables"}
    return [
        Missing(f"{binary} not found: apt-get install {package}")
        for binary, package in packages.items()
        if shutil.which(binary) is None
    ]


def _probes() -> list[Missing]:
    """VXLAN and nftables, tried in a network namespace that ends with the command."""
    missing = []
    if shutil.which("unshare") is None:
        return [Missing("unshare not found: apt-get install util-linux")]
    vxlan = ["ip", "link", "add", "sl0", "type", "vxlan", "id", "1", "dstport", "4789"]
    if shutil.which("ip") and not _works(vxlan):
        missing.append(Missing("no VXLAN devices, for overlay networks: modprobe vxlan"))
    if shutil.which("nft") and not _works(["nft", "add", "table", "inet", "swarmlite"]):
        missing.append(Missing("no nftables in the kernel, for VIPs and ports: modprobe nf_tables"))
    return missing


def _works(command: list[str]) -> bool:
    try:
        done = subprocess.run(
            ["unshare", "--net", *command], capture_output=True, timeout=PROBE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
