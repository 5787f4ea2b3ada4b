"""What tasks used in the last hour, a figure a minute, in memory and bounded: for the page's plots.

Each manager asks the nodes of its own sessions, one after the other over the minute, and knows what
these told it. Nothing is written: a manager that begins knows nothing yet.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable

from swarmlite.manager.store.api import Store
from swarmlite.model.validate.reports import MAX_NUMBER
from swarmlite.proto.control_pb2 import Figure, TaskFigures
from swarmlite.proto.dispatcher_pb2 import ManagerMessage, Measure, TaskUsage

from .sessions import Sessions

PERIOD_S = 60.0
KEPT = 60
MAX_TASKS = 20_000
"""Of all nodes; 1.5 kB each. The one of which nothing was heard for longest makes room."""
_WIDTH = 5


class Figures:
    """One loop; `told` takes what comes back."""

    def __init__(self, store: Store, sessions: Sessions, clock: Callable[[], float]) -> None:
        """`clock` counts seconds."""
        self._store, self._sessions, self._clock = store, sessions, clock
        self._began = clock()
        self._kept: dict[str, array[float]] = {}
        """Of each task: minute, processors, memory, received and sent, one after the other."""

    async def run(self, period_s: float = PERIOD_S) -> None:
        """Ask every node once a period, until cancelled."""
        while True:
            node_ids = self._sessions.node_ids()
            for node_id in node_ids:
                await asyncio.sleep(period_s / len(node_ids))
                self._sessions.send(node_id, ManagerMessage(measure=Measure(all=True)))
            if not node_ids:
                await asyncio.sleep(period_s / KEPT)
            self._forget()

    def told(self, node_id: str, usage: Iterable[TaskUsage]) -> None:
        """A node's answer; what is not of its own tasks is left out."""
        tasks, minute = self._store.view.tasks, self._minute()
        for one in usage:
            task = tasks.get(one.task_id)
            if task is None or task.node_id != node_id:
                continue
            kept = self._kept.pop(task.id, None)
            if kept is None:
                kept = array("f")
            if kept and kept[-_WIDTH] == minute:
                del kept[-_WIDTH:]
            del kept[: -_WIDTH * (KEPT - 1)]
            # As float32 a number near 2**64 is one that no answer can have.
            told = one.memory_bytes, one.received_bytes, one.sent_bytes
            kept.extend((minute, one.nano_cpus / 1e9, *(min(each, MAX_NUMBER) for each in told)))
            self._kept[task.id] = kept
            if len(self._kept) > MAX_TASKS:
                del self._kept[next(iter(self._kept))]

    def of(self, task_ids: Iterable[str]) -> list[TaskFigures]:
        """What is known of these, of the last hour."""
        now = self._minute()
        found = []
        for task_id in task_ids:
            kept = self._kept.get(task_id, ())
            figures = [
                Figure(
                    minutes_ago=now - int(kept[at]), cpus=kept[at + 1],
                    memory_bytes=int(kept[at + 2]),
                    received_bytes=int(kept[at + 3]), sent_bytes=int(kept[at + 4]),
                )
                for at in range(0, len(kept), _WIDTH)
                if now - kept[at] < KEPT
            ]  # fmt: skip
            if figures:
                found.append(TaskFigures(task_id=task_id, figures=figures))
        return found

    def _forget(self) -> None:
        """Those that were told of first are first: they were not told of for longest."""
        now = self._minute()
        while self._kept:
            first = next(iter(self._kept))
            if now - self._kept[first][-_WIDTH] < KEPT:
                return
            del self._kept[first]

    def _minute(self) -> int:
        return int((self._clock() - self._began) / PERIOD_S)
