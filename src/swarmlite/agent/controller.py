"""One task from ACCEPTED to its end: the state machine, and nothing of how a container is made.

`Workload` does the work; the controller decides what is next from what is desired and observed,
and reports each state. A task is never started twice: whatever ends it, it ends for good.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.agent.contact import Contact
from swarmlite.agent.local_restarts import LocalRestarts
from swarmlite.agent.statuses import now, status
from swarmlite.agent.workload import Workload
from swarmlite.engine.exits import Exit
from swarmlite.errors import SwarmliteError
from swarmlite.model import task_states
from swarmlite.proto.containers_pb2 import Health
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.types_pb2 import TaskState, TaskStatus

log = logging.getLogger(__name__)

DRAIN_S = 2.0
"""How long a task that leaves its VIP is kept: managers tell every node meanwhile."""


class Controller:
    """Drives one task; `run` ends when the task has ended and what it held is released."""

    def __init__(
        self,
        task: Task,
        workload: Workload,
        report: Callable[[str, TaskStatus], None],
        node_id: str,
        *,
        adopted_pid: int = 0,
        contact: Contact | None = None,
    ) -> None:
        """`task.status` is where it goes on; `adopted_pid` is of a container found running.

        With a `contact` that is lost, the task's container is started again under its policy.
        """
        self.task = task
        self.finished = asyncio.Event()
        self._workload = workload
        self._report_status = report
        self._node_id = node_id
        self._state: TaskState.ValueType = task.status.state
        self._since = Timestamp()
        self._since.CopyFrom(task.status.timestamp)
        # Who has not run yet has not passed a test either, whatever its managers assumed.
        self._healthy = task.status.healthy and task.status.state >= task_states.RUNNING
        self._pid = adopted_pid
        self._found_end: Exit | None = None
        self._contact = contact
        self._restarts = LocalRestarts(task.spec.restart)
        self._remark = ""
        self._go = asyncio.Event()
        self._stop = asyncio.Event()
        self._urgent = asyncio.Event()
        self.desire(task.desired_state)

    @property
    def state(self) -> TaskState.ValueType:
        """The last observed state."""
        return self._state

    @property
    def pid(self) -> int:
        """Of the running container, else 0."""
        return self._pid if self._state in (task_states.STARTING, task_states.RUNNING) else 0

    def desire(self, state: TaskState.ValueType) -> None:
        """Managers desire `state`; it never goes back."""
        if state >= task_states.RUNNING:
            self._go.set()
        if state > task_states.COMPLETE:
            self._stop.set()

    def hurry(self) -> None:
        """Nobody can reach the task by its service any longer: it stops without leaving a VIP."""
        self._urgent.set()

    def remark(self, text: str) -> None:
        """What is wrong with a task that runs all the same; empty: nothing any longer."""
        if text == self._remark:
            return
        self._remark = text
        if self._state == task_states.RUNNING and not self._stop.is_set():
            self._report(task_states.RUNNING, self._how_started())

    def found_ended(self, end: Exit) -> None:
        """Before `run`: the container was started earlier and has ended meanwhile."""
        self._found_end = end

    async def run(self) -> None:
        """Until the end of the task. Cancelled (the agent ends): the container runs on."""
        try:
            if task_states.is_terminal(self._state):
                await self._clean_up()
            elif self._stop.is_set() and not self._pid:
                await self._shut_down()
            else:
                await self._live_or_stop()
        finally:
            self.finished.set()

    async def _live_or_stop(self) -> None:
        life = asyncio.ensure_future(self._live())
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((life, stop), return_when=asyncio.FIRST_COMPLETED)
            if not life.done() and self._drains():
                await self._drain(life)
            if life.done():
                life.result()
            else:
                await _cancelled(life)
                await self._shut_down()
        finally:
            stop.cancel()
            await _cancelled(life)

    # living
    async def _live(self) -> None:
        try:
            if self._found_end is None and not self._pid:
                await self._begin()
            end = self._found_end or await self._supervise()
            while end is not None:
                end = await self._next_end(end)
        except (SwarmliteError, OSError) as error:  # OSError: a disk that is full, say
            await self._end_by_error(error)

    async def _begin(self) -> None:
        if self._state < task_states.ACCEPTED:
            self._report(task_states.ACCEPTED, "accepted")
        self._report(max(self._state, task_states.PREPARING), "preparing")
        await self._workload.prepare()
        self._report(task_states.READY, "prepared")
        await self._go.wait()
        self._report(task_states.STARTING, "starting")
        self._pid = await self._workload.start()

    async def _next_end(self, end: Exit) -> Exit | None:
        """The end after this one, where the container is started again; None once it has ended.

        A task is never restarted, only replaced: by its managers. While none answers, its node
        keeps the service going under the same task, and says so when they are back.
        """
        while await self._stays_alone(end):
            self._restarts.started(time.monotonic())
            log.info("started again, no manager answers task=%s", self.task.id)
            try:
                self._pid = await self._workload.start()
            except (SwarmliteError, OSError) as error:
                end = Exit(1, lost=f"task: {' '.join(str(error).split())}")
                continue
            self._healthy = False
            return await self._supervise()
        await self._ended(end)
        return None

    async def _stays_alone(self, end: Exit) -> bool:
        """Whether the policy wants a start, and no manager was back until it was due."""
        contact, restarts = self._contact, self._restarts
        if contact is None or contact.connected or self._stop.is_set():
            return False
        if not restarts.wanted(end.code, time.monotonic()):
            return False
        return not await contact.back_within(restarts.delay_s)

    async def _supervise(self) -> Exit | None:
        """Until the container ends: how; None when it was ended for its health."""
        health = self._workload.health()
        if health is None or self._state == task_states.RUNNING:
            self._healthy = self._healthy or health is None
            self._report(task_states.RUNNING, self._how_started())
        elif self._state < task_states.STARTING:
            self._report(task_states.STARTING, "starting")
        if health is None:
            return await self._workload.exited()
        exited = asyncio.ensure_future(self._workload.exited())
        sick = asyncio.ensure_future(self._until_unhealthy())
        try:
            await asyncio.wait((exited, sick), return_when=asyncio.FIRST_COMPLETED)
            if exited.done():
                return exited.result()
            sick.result()
            await self._end_unhealthy()
            return None
        finally:
            await _cancelled(exited)
            await _cancelled(sick)

    def _how_started(self) -> str:
        return self._with_restarts("started")

    def _with_restarts(self, message: str) -> str:
        """Also the message of the end: it may be the first that managers hear when they return."""
        count = self._restarts.count
        times = "once" if count == 1 else f"{count} times"
        return f"{message}; restarted {times} while no manager answered" if count else message

    async def _until_unhealthy(self) -> None:
        """Returns once the container is unhealthy; each change before is reported."""
        seen = Health.HEALTHY if self._healthy else Health.STARTING
        if (known := self._workload.health()) is not None and known.status == Health.UNHEALTHY:
            return
        while True:
            seen = await self._workload.health_changed(seen)
            if seen == Health.UNHEALTHY:
                return
            if seen == Health.HEALTHY:
                self._healthy = True
                self._report(task_states.RUNNING, self._how_started())

    async def _ended(self, end: Exit) -> None:
        state = task_states.COMPLETE if end.code == 0 else task_states.FAILED
        message = self._with_restarts("finished" if end.code == 0 else "started")
        if self._workload.host_ports:
            await self._release()  # the next task of this slot wants the same ports
            self._report(state, message, err=end.error(), end=end)
        else:
            self._report(state, message, err=end.error(), end=end)
            await self._release()
        await self._clear()

    async def _end_unhealthy(self) -> None:
        self._healthy = False
        if self._state == task_states.RUNNING:
            self._report(task_states.RUNNING, "unhealthy")  # leaves the VIP while it stops
        end = await self._workload.stop()
        await self._release()
        error = "task: unhealthy container"
        self._report(task_states.FAILED, self._how_started(), err=error, end=end)
        await self._clear()

    async def _end_by_error(self, error: Exception) -> None:
        started = self._state >= task_states.STARTING
        message = "starting" if started else "preparing"
        state = task_states.FAILED if started else task_states.REJECTED
        log.warning("task failed task=%s state=%s error=%s", self.task.id, state, error)
        await self._release()
        self._report(state, message, err=" ".join(str(error).split()))
        await self._clear()

    # stopping
    def _drains(self) -> bool:
        """Whether others may still send connections here: then the VIP is left first."""
        endpoint = self.task.endpoint
        reachable = bool(endpoint.virtual_ips or endpoint.ports)
        return reachable and self._state == task_states.RUNNING and not self._urgent.is_set()

    async def _drain(self, life: asyncio.Future[None]) -> None:
        urgent = asyncio.ensure_future(self._urgent.wait())
        try:
            await asyncio.wait((life, urgent), timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            urgent.cancel()

    async def _shut_down(self) -> None:
        if task_states.is_terminal(self._state):  # it ended while it was asked to
            await self._clean_up()
            return
        end = None
        try:
            end = await self._workload.stop()
        except (SwarmliteError, OSError) as error:
            log.warning("stopping failed task=%s error=%s", self.task.id, error)
        await self._release()
        self._report(task_states.SHUTDOWN, "shutdown", end=end)
        await self._clear()

    async def _clean_up(self) -> None:
        await self._release()
        await self._clear()

    async def _release(self) -> None:
        try:
            await self._workload.release()
        except (SwarmliteError, OSError) as error:  # the engine's sweep tries again
            log.warning("releasing failed task=%s error=%s", self.task.id, error)

    async def _clear(self) -> None:
        try:
            await self._workload.clear()
        except (SwarmliteError, OSError) as error:
            log.warning("files stay task=%s error=%s", self.task.id, error)

    def _report(
        self,
        state: TaskState.ValueType,
        message: str,
        *,
        err: str = "",
        end: Exit | None = None,
    ) -> None:
        reached = max(self._state, state)
        if reached != self._state or not self._since.ByteSize():
            self._since.CopyFrom(now())
        self._state = reached
        self._report_status(
            self.task.id,
            status(
                self._state,
                message,
                node_id=self._node_id,
                err=err or (self._remark if self._state == task_states.RUNNING else ""),
                end=end,
                container_id=self._workload.container_id,
                pid=self._pid,
                host_ports=self._workload.host_ports,
                healthy=self._healthy and self._state == task_states.RUNNING,
                health=self._workload.health(),
                since=self._since,
            ),
        )


async def _cancelled(future: asyncio.Future[Any]) -> None:
    """Cancel and wait for the end, whatever it is; what it raised was taken before."""
    future.cancel()
    await asyncio.wait((future,))
    if not future.cancelled():
        future.exception()
