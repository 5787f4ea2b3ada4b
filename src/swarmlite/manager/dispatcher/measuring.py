"""What tasks use, for services that scale by it: asked of their nodes, and kept with the tasks.

Each manager asks the nodes of its own sessions. A reading that is lost costs a period.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime

from swarmlite.errors import SwarmliteError
from swarmlite.manager.store.api import Change, Put, Store
from swarmlite.model.task_states import RUNNING
from swarmlite.proto.dispatcher_pb2 import ManagerMessage, Measure, TaskUsage
from swarmlite.proto.objects_pb2 import Task

from .sessions import Sessions

log = logging.getLogger(__name__)

PERIOD_S = 10.0
MAX_NUMBER = 2**62


class Measuring:
    """One loop; `told` takes what comes back."""

    def __init__(self, store: Store, sessions: Sessions, now: Callable[[], datetime]) -> None:
        """`now` is the time for what is stored."""
        self._store, self._sessions, self._now = store, sessions, now
        self._told: dict[str, TaskUsage] = {}

    async def run(self, period_s: float = PERIOD_S) -> None:
        """Ask and write until cancelled."""
        while True:
            await asyncio.sleep(period_s)
            await self.write()
            self.ask()

    def ask(self) -> None:
        """Every node of this manager that has a task of such a service."""
        wanted: defaultdict[str, list[str]] = defaultdict(list)
        view = self._store.view
        for service in view.services:
            if service.spec.HasField("autoscale"):
                for task in view.tasks.of_service(service.id).values():
                    if task.status.state == RUNNING >= task.desired_state:
                        wanted[task.node_id].append(task.id)
        for node_id, task_ids in wanted.items():
            self._sessions.send(node_id, ManagerMessage(measure=Measure(task_ids=task_ids)))

    def told(self, node_id: str, usage: Iterable[TaskUsage]) -> None:
        """A node's answer; what is not of its own tasks is left out."""
        tasks = self._store.view.tasks
        for one in usage:
            task = tasks.get(one.task_id)
            if task is not None and task.node_id == node_id:
                self._told[task.id] = one

    async def write(self) -> None:
        """What was told since the last time; what conflicts is told again in a while."""
        told, self._told = self._told, {}
        changes: list[Change] = []
        for task_id, usage in told.items():
            stored = self._store.view.tasks.get(task_id)
            if stored is not None and stored.status.state == RUNNING:
                changes.append(Put(self._with(stored, usage)))
        if not changes:
            return
        try:
            await self._store.commit_many(changes)
        except SwarmliteError as error:
            log.warning("what tasks use was not written error=%s", error)

    def _with(self, stored: Task, usage: TaskUsage) -> Task:
        task = Task()
        task.CopyFrom(stored)
        task.usage.nano_cpus = min(usage.nano_cpus, MAX_NUMBER)
        task.usage.memory_bytes = min(usage.memory_bytes, MAX_NUMBER)
        task.usage.measured_at.FromDatetime(self._now())
        return task
