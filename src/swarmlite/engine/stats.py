"""What containers use: counters of their cgroups, their interfaces, and the host's processors."""

from __future__ import annotations

import asyncio
import os
import time

from swarmlite.engine.events import moment
from swarmlite.engine.exits import SupervisorLink
from swarmlite.engine.records import Record
from swarmlite.errors import SwarmliteError
from swarmlite.proto.containers_pb2 import ContainerState, ContainerStats, InterfaceStats

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
HUGE = 1 << 60
"""A limit above this is none: the kernel's word for it is the largest number of pages."""
DETAIL = "memory."
"""What the lines of memory.stat have before their names among a cgroup's counters."""
FIELDS = {
    "cpu_usage_ns": "cpu_usage_ns",
    "cpu_user_ns": "cpu_user_ns",
    "cpu_system_ns": "cpu_system_ns",
    "cpu_throttled_ns": "throttled_ns",
    "throttled_periods": "throttled_periods",
    "memory_bytes": "memory_usage_bytes",
    "memory_inactive_file_bytes": "memory_inactive_file_bytes",
    "memory_max_usage_bytes": "memory_max_usage_bytes",
    "pids": "pids_current",
    "block_read_bytes": "block_read_bytes",
    "block_write_bytes": "block_write_bytes",
}


class Stats:
    """Reads one container after the other."""

    def __init__(self, supervisor: SupervisorLink) -> None:
        """`supervisor` reads the cgroups."""
        self._supervisor = supervisor

    async def read(self, record: Record) -> ContainerStats:
        """One reading; of a container that does not run, its name only."""
        reading = ContainerStats(
            id=record.id, name=record.name, read=moment(time.time_ns()), running=False
        )
        if record.state.status not in (ContainerState.RUNNING, ContainerState.PAUSED):
            return reading
        try:
            counters = await self._supervisor.client.stats(record.id)
        except SwarmliteError:
            return reading  # it has just ended
        for key, field in FIELDS.items():
            if (value := int(counters.get(key, 0))) > 0:
                setattr(reading, field, value)
        for key, count in counters.items():
            if key.startswith(DETAIL):
                reading.memory_detail[key.removeprefix(DETAIL)] = max(0, int(count))
        limit, host = int(counters.get("memory_limit_bytes", 0)), _host_memory_bytes()
        reading.memory_limit_bytes = limit if 0 < limit < min(host, HUGE) else host
        if (pids := int(counters.get("pids_limit", 0))) > 0:
            reading.pids_limit = pids
        reading.running = True
        await asyncio.to_thread(_add_host, reading, record.state.pid)
        return reading


def _host_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _add_host(reading: ContainerStats, pid: int) -> None:
    with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123
        ticks = [int(word) for word in file.readline().split()[1:9]]
    reading.host_cpu_usage_ns = sum(ticks) * TICK_NS
    reading.online_cpus = os.cpu_count() or 1
    reading.interfaces.extend(interfaces(pid))


def interfaces(pid: int) -> list[InterfaceStats]:
    """The interfaces of a process's network namespace but `lo`. Source: proc_net(5), dev."""
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:  # noqa: PTH123
            lines = file.readlines()[2:]
    except OSError:
        return []
    found = []
    for line in lines:
        name, _, rest = line.partition(":")
        numbers = [int(word) for word in rest.split()]
        if name.strip() == "lo" or len(numbers) < 12:
            continue
        found.append(
            InterfaceStats(
                name=name.strip(),
                rx_bytes=numbers[0], rx_packets=numbers[1],
                rx_errors=numbers[2], rx_dropped=numbers[3],
                tx_bytes=numbers[8], tx_packets=numbers[9],
                tx_errors=numbers[10], tx_dropped=numbers[11],
            )
        )  # fmt: skip
    return found
