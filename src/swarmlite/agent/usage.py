"""What tasks use, told to managers that ask: nothing is measured otherwise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable

from swarmlite.agent.workload import container_id_of
from swarmlite.engine.records import Records
from swarmlite.engine.stats import Stats
from swarmlite.proto.containers_pb2 import ContainerStats
from swarmlite.proto.dispatcher_pb2 import AgentMessage, Measure, TaskUsage

MAX_TASKS = 1000


class Usage:
    """Of this node's tasks; one event loop's."""

    def __init__(self, stats: Stats, records: Records) -> None:
        self._stats, self._records = stats, records
        self._asked: asyncio.Queue[Measure] = asyncio.Queue(1)
        self._before: dict[str, tuple[float, int]] = {}

    def asked(self, order: Measure) -> None:
        """A manager wants to know; the last order counts."""
        if self._asked.full():
            self._asked.get_nowait()
        self._asked.put_nowait(order)

    async def messages(self) -> AsyncIterator[AgentMessage]:
        """One for each order, of one session."""
        while True:
            order = await self._asked.get()
            usage = await self._measured(order.task_ids[:MAX_TASKS])
            if usage:
                yield AgentMessage(usage=usage)

    async def _measured(self, task_ids: Iterable[str]) -> list[TaskUsage]:
        found, readings = [], {}
        for task_id in task_ids:
            record = self._records.get(container_id_of(task_id))
            if record is None or not record.active:
                continue
            now, reading = time.monotonic(), await self._stats.read(record)
            if not reading.running:
                continue
            readings[task_id] = now, reading.cpu_usage_ns
            if task_id in self._before:
                found.append(_usage(task_id, reading, now, *self._before[task_id]))
        self._before = readings
        return found


def _usage(
    task_id: str, reading: ContainerStats, now: float, before_s: float, before_ns: int
) -> TaskUsage:
    idle = reading.memory_inactive_file_bytes
    used = max(0, reading.memory_usage_bytes - idle)
    spent = max(0, reading.cpu_usage_ns - before_ns)
    return TaskUsage(
        task_id=task_id, memory_bytes=used, nano_cpus=int(spent / max(now - before_s, 0.001))
    )
