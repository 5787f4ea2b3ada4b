"""The tasks of this node: starts, updates, adopts and forgets their controllers.

Assignments come in as deltas and are applied one after the other; nothing here waits for a task.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator
from typing import Any

from swarmlite.agent.assignments import AssignmentSet, Delta
from swarmlite.agent.contact import Contact
from swarmlite.agent.controller import Controller
from swarmlite.agent.journal import Journal
from swarmlite.agent.logs import LogShipper, Source
from swarmlite.agent.reporter import Reporter
from swarmlite.agent.statuses import status
from swarmlite.agent.task_workload import Surroundings, TaskWorkload
from swarmlite.agent.workload import container_id_of
from swarmlite.engine.exits import LOST_CODE, Exit
from swarmlite.engine.io.log_drivers import log_path
from swarmlite.engine.records import Record
from swarmlite.errors import SwarmliteError
from swarmlite.model import task_states
from swarmlite.proto.dispatcher_pb2 import Assignments
from swarmlite.proto.objects_pb2 import Task

log = logging.getLogger(__name__)

SWEEP_S = 30.0
REMARK_S = 2.0
YIELD_EVERY = 100
LOST = "task: the container is gone: the node or its supervisor was started again"


class Worker:
    """Holds one controller a task; `run` applies what is assigned."""

    def __init__(
        self,
        around: Surroundings,
        journal: Journal,
        reporter: Reporter,
        *,
        node_id: str,
    ) -> None:
        """Nothing is touched before `start`."""
        self.assignments = AssignmentSet()
        self.logs = LogShipper(self._log_sources)
        self.contact = Contact()
        self._around = around
        self._engine = around.engine
        self._journal = journal
        self._reporter = reporter
        self._node_id = node_id
        self._deltas: asyncio.Queue[Delta] = asyncio.Queue()
        self._controllers: dict[str, Controller] = {}
        self._workloads: dict[str, TaskWorkload] = {}
        self._running: set[asyncio.Future[None]] = set()
        self._complete_seen = False

    def controllers(self) -> Iterator[Controller]:
        """Of every task that is known, ended ones included."""
        return iter(self._controllers.values())

    # starting and ending
    async def start(self) -> None:
        """Take up the tasks on disk; the engine has taken up their containers before."""
        for task in self._journal.load().values():
            if task.node_id != self._node_id:  # of another life in another swarm
                self._journal.forget(task.id)
                continue
            self._reporter.known(task.id, task.status)
            self._begin(task)
        self.assignments.adopt(set(self._controllers))
        log.info("tasks taken up tasks=%d", len(self._controllers))

    async def run(self) -> None:
        """Apply deltas as they come, and sweep from time to time; ends by cancellation.

        Cancelled: containers run on, and are adopted at the next start.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._apply_deltas())
                group.create_task(self._sweep_often())
                group.create_task(self._remark_often())
        finally:
            for future in list(self._running):
                future.cancel()
            if self._running:
                await asyncio.wait(list(self._running))

    async def abandon(self) -> None:
        """This node is in no swarm any longer: stop every task and forget it."""
        for task_id in list(self._controllers):
            self._remove(task_id)
        if self._running:
            await asyncio.wait(list(self._running))
        await self._remove_unowned()

    # assignments
    def assigned(self, message: Assignments) -> None:
        """Take a manager's message in. Raises Conflict when it does not follow the last one."""
        delta = self.assignments.receive(message)
        if delta is not None:
            self._deltas.put_nowait(delta)

    async def _apply_deltas(self) -> None:
        while True:
            await self._apply(await self._deltas.get())

    async def _apply(self, delta: Delta) -> None:
        await self._network_told(delta)
        if delta.payloads_changed:
            self._around.payloads.replace(self.assignments.secrets, self.assignments.configs)
        for task_id in delta.removed_tasks:
            self._remove(task_id)
        for count, task in enumerate(delta.tasks, 1):
            self._update(task)
            if delta.complete:
                self._reporter.managers_have(task.id, task.status)
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        if delta.services_gone:
            for controller in self._controllers.values():
                self._hurry_if_service_gone(controller)
        if delta.complete:
            self._complete_seen = True

    async def _network_told(self, delta: Delta) -> None:
        try:
            await self._apply_network(delta)
        except SwarmliteError as error:  # its own reconciliation tries again
            log.warning("network not applied error=%s", error)

    async def _apply_network(self, delta: Delta) -> None:
        network = self._engine.network
        if delta.complete:
            await network.update(
                networks=delta.networks, endpoints=delta.endpoints, services=delta.services
            )
        elif delta.network_changes:
            await network.apply(delta.network_changes)

    def _update(self, task: Task) -> None:
        controller = self._controllers.get(task.id)
        if controller is None:
            self._begin(task)
            self._journal.put(task)
            return
        if task.desired_state != controller.task.desired_state:
            controller.task.desired_state = max(task.desired_state, controller.task.desired_state)
            self._journal.put_desired(task.id, controller.task.desired_state)
            controller.desire(task.desired_state)
            self._hurry_if_service_gone(controller)

    def _hurry_if_service_gone(self, controller: Controller) -> None:
        """A task of a service that is removed, not just scaled down, has no VIP to leave."""
        task = controller.task
        removed = task.desired_state >= task_states.REMOVE
        if removed and task.service_id not in self.assignments.service_ids:
            controller.hurry()

    def _begin(self, task: Task) -> None:
        own = Task()
        own.CopyFrom(task)
        workload = TaskWorkload(own, self._around)
        record = workload.record
        running = record is not None and record.active
        controller = Controller(
            own,
            workload,
            self._reporter.report,
            self._node_id,
            adopted_pid=record.state.pid if record is not None and running else 0,
            contact=self.contact,
        )
        self._controllers[task.id], self._workloads[task.id] = controller, workload
        if not running and not task_states.is_terminal(own.status.state):
            self._say_if_ended(own, controller, record)
        self._spawn(self._guard(controller))
        self.logs.added(self._source(controller))

    def _say_if_ended(self, task: Task, controller: Controller, record: Record | None) -> None:
        """It was started before this start of the agent and does not run: it has ended."""
        if record is not None and record.last_end is not None:
            controller.found_ended(record.last_end)
        elif task.status.state >= task_states.STARTING:
            controller.found_ended(Exit(LOST_CODE, lost=LOST))

    def _remove(self, task_id: str) -> None:
        controller = self._controllers.get(task_id)
        if controller is None:
            return
        controller.desire(task_states.REMOVE)
        controller.hurry()
        self._spawn(self._forget(task_id, controller))

    async def _forget(self, task_id: str, controller: Controller) -> None:
        await controller.finished.wait()
        if self._controllers.get(task_id) is not controller:
            return
        await self._workloads[task_id].forget()
        del self._controllers[task_id], self._workloads[task_id]
        self._journal.forget(task_id)
        self._reporter.forget(task_id)

    async def _guard(self, controller: Controller) -> None:
        """The named supervisor of controllers: a defect in one task's path ends only that task."""
        try:
            await controller.run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("controller failed task=%s", controller.task.id)
            text = f"internal error: {type(error).__name__}: {error}"
            failed = status(task_states.FAILED, "failed", node_id=self._node_id, err=text)
            self._reporter.report(controller.task.id, failed)
            with contextlib.suppress(SwarmliteError, OSError):
                await self._workloads[controller.task.id].release()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        future: asyncio.Future[None] = asyncio.ensure_future(work)
        self._running.add(future)
        future.add_done_callback(self._running.discard)

    # logs and leftovers
    def _log_sources(self) -> Iterator[Source]:
        return (self._source(controller) for controller in list(self._controllers.values()))

    def _source(self, controller: Controller) -> Source:
        container_id = container_id_of(controller.task.id)
        path = log_path(self._engine.records.directory / container_id)
        return Source(controller.task, path, controller.finished)

    async def _remark_often(self) -> None:
        """A service whose published ports this host's kernel refuses: its tasks say so."""
        while True:
            await asyncio.sleep(REMARK_S)
            refused = self._engine.network.refused_services()
            for controller in self._controllers.values():
                reason = refused.get(controller.task.service_id, "")
                controller.remark(f"published ports: {reason}" if reason else "")

    async def _sweep_often(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S if self._complete_seen else 1.0)
            if not self._complete_seen:  # the managers may know tasks that the journal lost
                continue
            try:
                await self._remove_unowned()
            except OSError as error:  # too many open files, say: the next one does it
                log.warning("sweep not complete error=%s", error)

    async def _remove_unowned(self) -> None:
        """Containers and secrets of tasks that are not known here."""
        owned = {container_id_of(task_id) for task_id in self._controllers}
        for record in self._engine.records:
            if not record.of_task or record.id in owned:
                continue
            log.info("removing a stray container id=%s", record.id)
            with contextlib.suppress(SwarmliteError, OSError):
                await self._engine.lifecycle.remove(record, force=True, volumes=True)
        for name in self._around.payload_files.containers():
            if name not in self._engine.records and name not in owned:
                self._around.payload_files.remove(name)
