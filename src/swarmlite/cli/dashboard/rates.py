"""What tasks use, as rates between two readings of their containers. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from swarmlite.cli.container.usage import cpu_percent, memory_bytes
from swarmlite.proto.containers_pb2 import ContainerStats

STALE_S = 15.0
"""A reading that is older says nothing of now: its node is gone, or the way to it."""


@dataclass(frozen=True)
class Usage:
    """Of one task, or of many together. 100 percent is one processor."""

    cpu_percent: float = 0.0
    memory_bytes: int = 0
    received_bytes_s: float = 0.0
    sent_bytes_s: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.cpu_percent + other.cpu_percent,
            self.memory_bytes + other.memory_bytes,
            self.received_bytes_s + other.received_bytes_s,
            self.sent_bytes_s + other.sent_bytes_s,
        )


class Readings:
    """The last reading of each task, and what it used since the one before."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, ContainerStats]] = {}
        self._usage: dict[str, tuple[float, Usage]] = {}

    def told(self, reading: ContainerStats, now_s: float) -> None:
        """One reading, of a container that is named SERVICE.SLOT.TASK."""
        task_id = reading.name.rpartition(".")[2]
        if not reading.running:
            self._last.pop(task_id, None)
            self._usage.pop(task_id, None)
            return
        if task_id in self._last:
            self._usage[task_id] = now_s, _between(*self._last[task_id], reading, now_s)
        self._last[task_id] = now_s, reading

    def keep(self, task_ids: Iterable[str]) -> None:
        """Forget all other tasks."""
        for task_id in self._last.keys() - set(task_ids):
            del self._last[task_id]
            self._usage.pop(task_id, None)

    def of(self, task_id: str, now_s: float) -> Usage | None:
        """None before the second reading, and when the last one is old."""
        at, usage = self._usage.get(task_id, (-math.inf, Usage()))
        return usage if now_s - at < STALE_S else None


def total(parts: Iterable[Usage | None]) -> Usage | None:
    """All that are known, together; None where none is."""
    known = [part for part in parts if part is not None]
    return sum(known, Usage()) if known else None


def _between(then_s: float, before: ContainerStats, now: ContainerStats, now_s: float) -> Usage:
    passed = max(now_s - then_s, 0.001)

    def rate(name: str) -> float:
        first, last = (sum(getattr(i, name) for i in r.interfaces) for r in (before, now))
        return float(max(0, last - first)) / passed

    return Usage(cpu_percent(now, before), memory_bytes(now), rate("rx_bytes"), rate("tx_bytes"))
