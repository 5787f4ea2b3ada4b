"""Which statuses are sent to the managers, and when."""

from __future__ import annotations

import asyncio

from swarmlite.agent.reporter import PASSING_S, Reporter
from swarmlite.model import task_states
from swarmlite.proto.types_pb2 import TaskState, TaskStatus


def status(state: TaskState.ValueType) -> TaskStatus:
    return TaskStatus(state=state)


async def test_a_state_that_a_task_only_passes_through_is_not_sent() -> None:
    """All are kept on disk; managers hear of RUNNING once, and of nothing after it."""
    kept: list[int] = []
    reporter = Reporter(lambda _, status: kept.append(status.state))
    passed = [
        task_states.ACCEPTED, task_states.PREPARING, task_states.READY, task_states.STARTING,
    ]  # fmt: skip
    for state in (*passed, task_states.RUNNING):
        reporter.report("one", status(state))
    assert [u.status.state for u in await reporter.batch()] == [task_states.RUNNING]
    assert kept == [*passed, task_states.RUNNING]
    await asyncio.sleep(2 * PASSING_S)
    reporter.report("two", status(task_states.READY))
    assert [u.task_id for u in await reporter.batch()] == ["two"]


async def test_a_state_that_a_task_stays_in_is_sent() -> None:
    """One that waits for an image, say."""
    reporter = Reporter(lambda *_: None)
    reporter.report("one", status(task_states.PREPARING))
    assert [u.status.state for u in await reporter.batch()] == [task_states.PREPARING]
