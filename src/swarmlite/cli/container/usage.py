"""The columns of `stats`: what a container uses, as rates between two readings. Pure."""

from __future__ import annotations

from typing import Any

from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Listing
from swarmlite.model import units
from swarmlite.proto.containers_pb2 import ContainerStats

LISTING = Listing(
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}"
    "\t{{.PIDs}}",
    {
        "ID": "CONTAINER ID",
        "Container": "CONTAINER",
        "Name": "NAME",
        "CPUPerc": "CPU %",
        "MemUsage": "MEM USAGE / LIMIT",
        "MemPerc": "MEM %",
        "NetIO": "NET I/O",
        "BlockIO": "BLOCK I/O",
        "PIDs": "PIDS",
    },
)
NOTHING = "--"


def row(now: ContainerStats, before: ContainerStats | None, no_trunc: bool) -> dict[str, Any]:
    """One container's row; `before` is its last reading, which the share of CPU is counted from."""
    identity = now.id if no_trunc else human.short_id(now.id)
    named = {"BlockIO": NOTHING, "CPUPerc": NOTHING, "Container": identity, "ID": identity}
    if not now.running:
        empty = dict.fromkeys(("MemPerc", "MemUsage"), NOTHING)
        return {**named, **empty, "Name": now.name, "NetIO": NOTHING, "PIDs": NOTHING}
    received = sum(interface.rx_bytes for interface in now.interfaces)
    sent = sum(interface.tx_bytes for interface in now.interfaces)
    used = memory_bytes(now)
    limit = now.memory_limit_bytes
    return {
        **named,
        "BlockIO": f"{_size(now.block_read_bytes)} / {_size(now.block_write_bytes)}",
        "CPUPerc": f"{cpu_percent(now, before):.2f}%",
        "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "MemUsage": f"{units.format_bytes(used)} / {units.format_bytes(limit)}",
        "Name": now.name,
        "NetIO": f"{_size(received)} / {_size(sent)}",
        "PIDs": str(now.pids_current),
    }


def memory_bytes(now: ContainerStats) -> int:
    """What is used without the page cache that can be given back at once."""
    idle = now.memory_inactive_file_bytes
    return now.memory_usage_bytes - (idle if idle < now.memory_usage_bytes else 0)


def cpu_percent(now: ContainerStats, before: ContainerStats | None) -> float:
    """100 is one processor. Without a reading before, it is of the time since the host booted."""
    used = now.cpu_usage_ns - (before.cpu_usage_ns if before else 0)
    passed = now.host_cpu_usage_ns - (before.host_cpu_usage_ns if before else 0)
    if used <= 0 or passed <= 0:
        return 0.0
    return 100.0 * used / passed * (now.online_cpus or 1)


def _size(size_bytes: int) -> str:
    return units.format_size(size_bytes)
