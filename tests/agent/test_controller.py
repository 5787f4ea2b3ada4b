"""The state machine of a task, with a scripted workload: what is reported and done, and in which
order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from swarmlite.agent.contact import Contact
from swarmlite.agent.controller import Controller
from swarmlite.agent.local_restarts import LocalRestarts
from swarmlite.agent.scripted_workload import ScriptedWorkload
from swarmlite.engine.exits import Exit
from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.model import task_states
from swarmlite.proto.containers_pb2 import Health
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.types_pb2 import PortConfig, RestartPolicy, TaskState, TaskStatus


class Driven:
    """A controller that runs, what it reported, and its workload."""

    def __init__(
        self, task: Task, workload: ScriptedWorkload, contact: Contact | None, adopted_pid: int
    ) -> None:
        self.workload = workload
        self.reports: list[TaskStatus] = []
        self._heard = asyncio.Condition()
        self.controller = Controller(
            task, workload, self._report, "node", contact=contact, adopted_pid=adopted_pid
        )
        self.life = asyncio.ensure_future(self.controller.run())

    def _report(self, task_id: str, status: TaskStatus) -> None:
        self.reports.append(status)
        asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        async with self._heard:
            self._heard.notify_all()

    async def reaches(self, state: TaskState.ValueType, message: str = "") -> TaskStatus:
        async with asyncio.timeout(10), self._heard:
            while True:
                for status in self.reports:
                    if status.state == state and message in status.message:
                        return status
                await self._heard.wait()

    @property
    def states(self) -> list[str]:
        names = [task_states.name(status.state) for status in self.reports]
        return list(dict.fromkeys(names))

    async def finished(self) -> None:
        async with asyncio.timeout(10):
            await self.life


def make_task(**fields: object) -> Task:
    task = Task(id="task", desired_state=task_states.RUNNING, **fields)  # type: ignore[arg-type]
    task.status.state = task_states.ASSIGNED
    task.spec.restart.delay.FromNanoseconds(1)
    return task


@contextlib.asynccontextmanager
async def driven(
    task: Task | None = None,
    workload: ScriptedWorkload | None = None,
    contact: Contact | None = None,
    adopted_pid: int = 0,
) -> AsyncIterator[Driven]:
    run = Driven(task or make_task(), workload or ScriptedWorkload(), contact, adopted_pid)
    try:
        yield run
    finally:
        run.life.cancel()
        await asyncio.wait((run.life,))


async def test_a_task_passes_every_state_once_and_in_order() -> None:
    async with driven() as run:
        await run.reaches(task_states.RUNNING)
        await run.workload.end(Exit(0))
        await run.finished()
        assert run.states == [
            "accepted", "preparing", "ready", "starting", "running", "complete",
        ]  # fmt: skip
        assert run.workload.calls == ["prepare", "start", "release", "clear"]


async def test_a_task_is_held_at_ready_until_it_is_desired_to_run() -> None:
    task = make_task()
    task.desired_state = task_states.READY
    async with driven(task) as run:
        await run.reaches(task_states.READY)
        assert run.workload.calls == ["prepare"]
        run.controller.desire(task_states.RUNNING)
        await run.reaches(task_states.RUNNING)


async def test_an_end_says_why() -> None:
    async with driven() as run:
        await run.reaches(task_states.RUNNING)
        await run.workload.end(Exit(137, oom_killed=True))
        await run.finished()
        last = run.reports[-1]
        assert last.state == task_states.FAILED
        assert last.err == "task: non-zero exit (137): killed, out of memory"
        assert (last.container.exit_code, last.container.oom_killed) == (137, True)


async def test_ports_of_the_host_are_free_before_the_end_is_reported() -> None:
    workload = ScriptedWorkload()
    workload.host_ports = [PortConfig(published_port=80)]
    workload.fail["release"] = OSError(5, "the kernel keeps it")  # and the exit code stands
    async with driven(workload=workload) as run:
        await run.reaches(task_states.RUNNING)
        await workload.end(Exit(0))
        await run.finished()
        assert run.reports[-1].state == task_states.COMPLETE


@pytest.mark.parametrize(
    ("call", "state"), [("prepare", task_states.REJECTED), ("start", task_states.FAILED)]
)
async def test_what_fails_before_it_runs(call: str, state: TaskState.ValueType) -> None:
    workload = ScriptedWorkload()
    workload.fail[call] = InvalidSpec("this\ncannot be")
    async with driven(workload=workload) as run:
        await run.finished()
        assert (run.reports[-1].state, run.reports[-1].err) == (state, "this cannot be")
        assert workload.calls[-2:] == ["release", "clear"]


async def test_a_task_that_is_not_desired_any_longer_is_stopped_at_any_step() -> None:
    for held in ("prepare", "start", ""):
        workload = ScriptedWorkload()
        if held:
            workload.hold[held] = asyncio.Event()
        async with driven(workload=workload) as run:
            await run.reaches(task_states.RUNNING if not held else task_states.PREPARING)
            if held:
                await workload.called(held)
            run.controller.desire(task_states.SHUTDOWN)
            await run.finished()
            assert run.reports[-1].state == task_states.SHUTDOWN
            assert workload.calls[-3:] == ["stop", "release", "clear"]


async def test_health_decides_when_it_runs_and_when_it_has_failed() -> None:
    workload = ScriptedWorkload(checked=True)
    async with driven(workload=workload) as run:
        await run.reaches(task_states.STARTING)
        assert "running" not in run.states
        await workload.judge(Health.HEALTHY)
        status = await run.reaches(task_states.RUNNING)
        assert (status.healthy, status.container.health) == (True, "healthy")
        await workload.judge(Health.UNHEALTHY)
        await run.finished()
        left = [status for status in run.reports if status.message == "unhealthy"]
        assert [status.healthy for status in left] == [False]  # leaves the VIP before it stops
        assert run.reports[-1].state == task_states.FAILED
        assert run.reports[-1].err == "task: unhealthy container"
        assert workload.calls[-3:] == ["stop", "release", "clear"]


async def test_an_adopted_task_keeps_the_time_at_which_it_began_to_run() -> None:
    task = make_task()
    task.status.state = task_states.RUNNING
    task.status.timestamp.FromSeconds(1234)
    async with driven(task, adopted_pid=77) as run:
        found = await run.reaches(task_states.RUNNING)
        assert found.timestamp.seconds == 1234
        assert found.container.pid == 77
        await run.workload.end(Exit(1))
        await run.finished()
        assert run.reports[-1].timestamp.seconds > 1234


# alone
def impatient() -> Contact:
    contact = Contact()
    contact.period_s = 0.01
    return contact


async def test_without_managers_a_container_is_started_again_under_the_policy() -> None:
    task = make_task()
    task.spec.restart.max_attempts = 2
    async with driven(task, contact=impatient()) as run:
        await run.reaches(task_states.RUNNING)
        await run.workload.end(Exit(1))
        again = await run.reaches(task_states.RUNNING, "restarted once while no manager answered")
        assert again.container.pid == 2
        await run.workload.end(Exit(1))
        await run.reaches(task_states.RUNNING, "restarted 2 times while no manager answered")
        await run.workload.end(Exit(1))
        await run.finished()
        # The end tells it too: managers that return just then hear of nothing before.
        end = run.reports[-1]
        assert end.state == task_states.FAILED
        assert end.message == "started; restarted 2 times while no manager answered"
        assert run.workload.calls.count("start") == 3


async def test_with_managers_a_task_is_never_restarted() -> None:
    contact = impatient()
    contact.found(0.01)
    async with driven(contact=contact) as run:
        await run.reaches(task_states.RUNNING)
        await run.workload.end(Exit(1))
        await run.finished()
        assert run.reports[-1].state == task_states.FAILED
        assert run.workload.calls.count("start") == 1


async def test_managers_that_are_back_in_time_replace_it_themselves() -> None:
    contact = Contact()  # patient: 15 s
    async with driven(contact=contact) as run:
        await run.reaches(task_states.RUNNING)
        await run.workload.end(Exit(1))
        contact.found(5.0)
        await run.finished()
        assert run.reports[-1].state == task_states.FAILED
        assert run.workload.calls.count("start") == 1


async def test_a_start_that_fails_while_alone_counts_as_an_attempt() -> None:
    task = make_task()
    task.spec.restart.max_attempts = 3
    async with driven(task, contact=impatient()) as run:
        await run.reaches(task_states.RUNNING)
        run.workload.fail["start"] = FailedPrecondition("no room")
        await run.workload.end(Exit(1))
        await run.finished()
        assert run.reports[-1].state == task_states.FAILED
        assert run.reports[-1].err == "task: no room"
        assert run.workload.calls.count("start") == 4


@pytest.mark.parametrize(
    ("policy", "code", "expected"),
    [
        (RestartPolicy(condition=RestartPolicy.ANY), 0, True),
        (RestartPolicy(condition=RestartPolicy.ON_FAILURE), 0, False),
        (RestartPolicy(condition=RestartPolicy.ON_FAILURE), 1, True),
        (RestartPolicy(condition=RestartPolicy.NONE), 1, False),
    ],
)
def test_what_a_policy_wants(policy: RestartPolicy, code: int, expected: bool) -> None:
    assert LocalRestarts(policy).wanted(code, 0.0) is expected


def test_attempts_are_counted_within_the_window() -> None:
    policy = RestartPolicy(max_attempts=1)
    policy.window.FromSeconds(10)
    restarts = LocalRestarts(policy)
    restarts.started(100.0)
    assert not restarts.wanted(1, 105.0)
    assert restarts.wanted(1, 111.0)
