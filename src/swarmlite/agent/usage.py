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
MAX_FIGURES = 200
"""Of one message."""


class Usage:
    """Of this node's tasks; one event loop's."""

    def __init__(self, stats: Stats, records: Records) -> None:
        self._stats, self._records = stats, records
        self._asked: asyncio.Queue[Measure] = asyncio.Queue(1)
        self._before: dict[str, tuple[float, int]] = {}
        self._all = asyncio.Event()
        self._last: dict[str, ContainerStats] = {}

    def asked(self, order: Measure) -> None:
        """A manager wants to know; the last order of each kind counts."""
        if order.all:
            self._all.set()
            return
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

    async def figures(self) -> AsyncIterator[AgentMessage]:
        """Of every task that runs, each time that it is asked for."""
        while True:
            await self._all.wait()
            self._all.clear()
            found = await self._figures()
            for begin in range(0, len(found), MAX_FIGURES):
                yield AgentMessage(figures=found[begin : begin + MAX_FIGURES])

    async def _figures(self) -> list[TaskUsage]:
        found, last = [], {}
        running = [record for record in self._records if record.of_task and record.active]
        for record in running[:MAX_TASKS]:
            reading = await self._stats.read(record)
            if reading.running:
                task_id = record.config.task.task_id
                last[task_id] = reading
                began = ContainerStats(read=record.state.started)
                found.append(_figure(task_id, reading, self._last.get(task_id, began)))
        self._last = last
        return found

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
    spent = max(0, reading.cpu_usage_ns - before_ns)
    return TaskUsage(
        task_id=task_id,
        memory_bytes=_used(reading),
        nano_cpus=int(spent / max(now - before_s, 0.001)),
    )


def _used(reading: ContainerStats) -> int:
    return max(0, reading.memory_usage_bytes - reading.memory_inactive_file_bytes)


def _figure(task_id: str, reading: ContainerStats, before: ContainerStats) -> TaskUsage:
    """Since the reading before; `before` says at least when that was."""
    seconds = max((reading.read.ToNanoseconds() - before.read.ToNanoseconds()) / 1e9, 0.001)

    def a_second(now: int, then: int) -> int:
        return int(max(0, now - then) / seconds)

    received, sent = _carried(reading)
    received_before, sent_before = _carried(before)
    return TaskUsage(
        task_id=task_id,
        nano_cpus=a_second(reading.cpu_usage_ns, before.cpu_usage_ns),
        memory_bytes=_used(reading),
        received_bytes=a_second(received, received_before),
        sent_bytes=a_second(sent, sent_before),
    )


def _carried(reading: ContainerStats) -> tuple[int, int]:
    each = reading.interfaces
    return sum(one.rx_bytes for one in each), sum(one.tx_bytes for one in each)
