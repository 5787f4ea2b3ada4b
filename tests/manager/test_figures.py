"""Figures of the last hour: a minute each, of a node's own tasks, and no more than is said."""

from __future__ import annotations

import asyncio

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.manager.controlapi.api import Api
from swarmlite.manager.controlapi.figures import AllFigures
from swarmlite.manager.dispatcher import figures as room
from swarmlite.manager.dispatcher.figures import Figures
from swarmlite.manager.dispatcher.sessions import Sessions
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.model.validate.reports import (
    MAX_FIGURES,
    MAX_NUMBER,
    MAX_PEERS,
    check_message,
)
from swarmlite.proto.control_pb2 import (
    FiguresRequest,
    FiguresResponse,
    NetworkFindings,
    PeerFinding,
)
from swarmlite.proto.dispatcher_pb2 import AgentMessage, TaskUsage
from swarmlite.proto.objects_pb2 import Task


class Hour:
    """Figures with tasks a, b and c on node n, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.store = MemoryStore()
        self.store.commit_now([Put(Task(id=name, node_id="n")) for name in "abc"])
        self.figures = Figures(self.store, Sessions(), lambda: self.now)

    def tell(self, task_id: str, cpus: float, node_id: str = "n") -> None:
        usage = TaskUsage(task_id=task_id, nano_cpus=int(cpus * 1e9), memory_bytes=1 << 20)
        self.figures.told(node_id, [usage])

    def cpus(self, task_id: str) -> list[tuple[int, float]]:
        return [
            (one.minutes_ago, one.cpus)
            for task in self.figures.of([task_id])
            for one in task.figures
        ]


@pytest.fixture
def hour() -> Hour:
    return Hour()


def test_a_minute_has_one_figure_and_an_hour_sixty(hour: Hour) -> None:
    for minute in range(70):
        for half in (0.0, 0.5):
            hour.tell("a", minute + half)
        hour.now += 60
    found = hour.cpus("a")
    assert found == [(minute, 70 - minute + 0.5) for minute in range(59, 0, -1)]
    assert len(hour.figures._kept["a"]) == 60 * 5
    hour.now += 60 * 60
    assert hour.cpus("a") == []
    hour.tell("b", 1)
    hour.figures._forget()
    assert list(hour.figures._kept) == ["b"]


def test_a_node_tells_of_its_own_tasks_only(hour: Hour) -> None:
    hour.tell("a", 1, node_id="other")
    hour.tell("nobody", 1)
    assert not hour.figures._kept


def test_beyond_so_many_tasks_that_of_longest_silence_makes_room(
    hour: Hour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_TASKS", 2)
    for task_id in "abac":
        hour.tell(task_id, 1)
    assert sorted(hour.figures._kept) == ["a", "c"]


async def test_a_node_that_talked_to_two_managers_has_one_row_of_figures(hour: Hour) -> None:
    hour.tell("a", 1)
    hour.now += 180
    hour.tell("a", 2)
    late = Hour()
    late.tell("a", 3)
    late.now += 120
    answers = [FiguresResponse(tasks=each.figures.of("ab")) for each in (late, hour)]
    every = AllFigures(Api(hour.store, "m"), hour.figures, None)
    (task,) = (await every._merged(answers)).tasks
    assert [(one.minutes_ago, one.cpus) for one in task.figures] == [(3, 1), (2, 3), (0, 2)]
    with pytest.raises(InvalidSpec, match="at most 1000"):
        await every.get(FiguresRequest(task_ids=["x"] * 1001))
    assert await every.get(FiguresRequest(task_ids="ab")) == answers[1]


async def test_the_highest_number_is_answered_and_many_tasks_leave_turns_to_others(
    hour: Hour,
) -> None:
    """As float32 it is more than an answer can have."""
    most = 2**64 - 1
    ids = [str(number) for number in range(1000)]
    for begin in range(0, len(ids), 100):
        made = [Task(id=task_id, node_id="n") for task_id in ids[begin : begin + 100]]
        hour.store.commit_now([Put(task) for task in made])
    hour.figures.told("n", [
        TaskUsage(task_id=task_id, memory_bytes=most, received_bytes=most, sent_bytes=most)
        for task_id in ids
    ])  # fmt: skip
    every = AllFigures(Api(hour.store, "m"), hour.figures, None)
    asked = asyncio.ensure_future(every.get(FiguresRequest(task_ids=ids)))
    turns = 0
    while not asked.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10
    found = asked.result().tasks
    assert [task.task_id for task in found] == ids
    assert {one.memory_bytes for task in found for one in task.figures} == {MAX_NUMBER}


def test_more_in_one_message_than_an_agent_says_is_refused() -> None:
    check_message(AgentMessage(figures=[TaskUsage()] * MAX_FIGURES))
    many = NetworkFindings(peers=[PeerFinding()] * (MAX_PEERS + 1))
    for what, message in (
        ("1001 figures", AgentMessage(figures=[TaskUsage()] * (MAX_FIGURES + 1))),
        ("10001 peers", AgentMessage(network_findings=many)),
    ):
        with pytest.raises(InvalidSpec, match=what):
            check_message(message)
