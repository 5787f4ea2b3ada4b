"""Where other nodes are on the overlay of published ports, as this host's kernel was told.

A node that has tasks there knows every node's place and every node knows its; so such nodes can be
asked through the overlay from anywhere. The standard library only, as all of `doctor`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

INGRESS = "swarmlite-in"
"""The host's own interface there (`network/host_table.py`)."""


def places(netns_dir: Path) -> Mapping[str, str]:
    """By the address of a host's data path, its own address on the overlay: of those with tasks."""
    own, with_tasks = _neighbours(_said("ip", "-4", "neigh", "show", "dev", INGRESS))
    found = {}
    for netns in netns_dir.glob("net-*"):
        shown = _said("nsenter", f"--net={netns}", "bridge", "fdb", "show")
        for mac, host in _hosts(shown):
            if mac in own and mac in with_tasks:
                found[host] = own[mac]
    return found


def _neighbours(shown: str) -> tuple[dict[str, str], set[str]]:
    """Nodes' own addresses by their MAC, and the MACs that lead to tasks as well."""
    own, with_tasks = {}, set()
    for line in shown.splitlines():
        words = line.split()
        if "lladdr" not in words:
            continue
        address, mac = words[0], words[words.index("lladdr") + 1]
        if mac == _mac_of(address):
            own[mac] = address
        else:
            with_tasks.add(mac)
    return own, with_tasks


def _mac_of(address: str) -> str:
    """As the managers make it: 02:42: and the address."""
    return "02:42:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def _hosts(shown: str) -> Iterator[tuple[str, str]]:
    """The MACs and the hosts that they are at, of `bridge fdb`."""
    for line in shown.splitlines():
        words = line.split()
        if "dst" in words:
            yield words[0], words[words.index("dst") + 1]


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
