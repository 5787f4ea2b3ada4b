"""Statuses on their way to the managers: the newest of each task, in batches, again after a break.

A task's observed state only rises; what would lower it is dropped here and said in the log. A state
that a task only passes through is not worth a transaction of the managers: it is sent once a task
has stayed in it for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from swarmlite.model.task_states import ACCEPTED, PREPARING, STARTING
from swarmlite.proto.dispatcher_pb2 import TaskStatusUpdate
from swarmlite.proto.types_pb2 import TaskStatus

log = logging.getLogger(__name__)

BATCH_S = 0.02
BATCH_TASKS = 500
PASSING = frozenset({ACCEPTED, PREPARING, STARTING})
PASSING_S = 0.5


class Reporter:
    """Collects statuses; a session takes them in batches and gives back what it could not send."""

    def __init__(self, persist: Callable[[str, TaskStatus], None]) -> None:
        """`persist` keeps a status on disk; it is called for each one accepted."""
        self._persist = persist
        self._last: dict[str, TaskStatus] = {}
        self._waiting: dict[str, TaskStatus] = {}
        self._ready = asyncio.Event()
        self.sent = 0

    @property
    def waiting(self) -> int:
        """Tasks whose newest status the managers have yet to be told."""
        return len(self._waiting)

    def known(self, task_id: str, status: TaskStatus) -> None:
        """The status that a task has at the start, reported only when managers know less."""
        self._last[task_id] = status

    def report(self, task_id: str, status: TaskStatus) -> None:
        """Remember and send `status`; ignored when it would lower the task's state."""
        last = self._last.get(task_id)
        if last is not None and status.state < last.state:
            log.warning(
                "status would fall task=%s from=%d to=%d", task_id, last.state, status.state
            )
            return
        self._last[task_id] = status
        self._persist(task_id, status)
        if status.state in PASSING:
            self._waiting.pop(task_id, None)  # READY, say, which it has passed through by now
            asyncio.get_running_loop().call_later(PASSING_S, self._stays, task_id, status)
        else:
            self._enqueue(task_id, status)

    def _stays(self, task_id: str, status: TaskStatus) -> None:
        if self._last.get(task_id) is status:
            self._enqueue(task_id, status)

    def managers_have(self, task_id: str, status: TaskStatus) -> None:
        """What a COMPLETE assignment says of a task: ours is sent again when it is newer."""
        last = self._last.get(task_id)
        if last is not None and (last.state > status.state or _differs(last, status)):
            self._enqueue(task_id, last)

    def again(self, task_id: str) -> None:
        """The managers did not take the last report of this task: it is sent once more."""
        last = self._last.get(task_id)
        if last is not None:
            self._enqueue(task_id, last)

    def forget(self, task_id: str) -> None:
        """The task is removed; what waits to be sent is still sent, the managers may want it."""
        self._last.pop(task_id, None)

    async def batch(self) -> list[TaskStatusUpdate]:
        """The next statuses to send, once there are any; waits `BATCH_S` for more to come along.

        Cancelled: nothing is lost.
        """
        while True:
            await self._ready.wait()
            await asyncio.sleep(BATCH_S)
            if self._waiting:
                break
            self._ready.clear()  # what waited was passed through meanwhile
        chosen = list(self._waiting)[:BATCH_TASKS]
        updates = [
            TaskStatusUpdate(task_id=task_id, status=self._waiting.pop(task_id))
            for task_id in chosen
        ]
        if not self._waiting:
            self._ready.clear()
        self.sent += len(updates)
        return updates

    def give_back(self, updates: list[TaskStatusUpdate]) -> None:
        """The session broke before these were sent: they go first in the next one."""
        for update in updates:
            self.sent -= 1
            if update.task_id not in self._waiting:
                self._enqueue(update.task_id, update.status)

    def _enqueue(self, task_id: str, status: TaskStatus) -> None:
        self._waiting[task_id] = status
        self._ready.set()


def _differs(ours: TaskStatus, theirs: TaskStatus) -> bool:
    same = (
        ours.state == theirs.state
        and ours.err == theirs.err
        and ours.healthy == theirs.healthy
        and ours.container.container_id == theirs.container.container_id
    )
    return not same and ours.state >= theirs.state
