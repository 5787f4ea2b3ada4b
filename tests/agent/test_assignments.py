"""COMPLETE sets and INCREMENTAL changes."""

from __future__ import annotations

import pytest

from swarmlite.agent.assignments import AssignmentSet
from swarmlite.errors import Conflict
from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Assignments, Endpoint
from swarmlite.proto.objects_pb2 import Network, Secret, Task


def complete(*changes: AssignmentChange, at: str = "1", more: bool = False) -> Assignments:
    return Assignments(type=Assignments.COMPLETE, results_in=at, changes=changes, more=more)


def task(task_id: str) -> AssignmentChange:
    return AssignmentChange(task=Task(id=task_id))


def test_a_complete_set_removes_what_it_lacks() -> None:
    known = AssignmentSet()
    known.adopt({"old", "kept"})
    delta = known.receive(complete(task("kept"), task("new")))
    assert delta is not None
    assert delta.removed_tasks == ["old"]
    assert [entry.id for entry in delta.tasks] == ["kept", "new"]


def test_what_a_restored_store_does_not_know_of_stays_until_it_is_settled() -> None:
    known = AssignmentSet()
    known.adopt({"later", "kept"})
    message = complete(task("kept"))
    message.keep_unknown = True
    for _ in range(2):  # and over a session that ends
        delta = known.receive(message)
        assert delta is not None
        assert delta.removed_tasks == []
        assert known.unknown == {"later"}
        known.restart()
    delta = known.receive(complete(task("kept")))
    assert delta is not None
    assert delta.removed_tasks == ["later"]
    assert known.unknown == set()


def test_a_complete_set_in_parts_is_one_delta() -> None:
    known = AssignmentSet()
    assert known.receive(complete(task("a"), more=True)) is None
    delta = known.receive(complete(task("b")))
    assert delta is not None
    assert [entry.id for entry in delta.tasks] == ["a", "b"]


def test_an_incremental_message_keeps_the_order_of_network_items() -> None:
    known = AssignmentSet()
    known.receive(complete())
    changes = [
        AssignmentChange(network=Network(id="n")),
        AssignmentChange(endpoint=Endpoint(id="e")),
        AssignmentChange(secret=Secret(id="s")),
        task("t"),
        AssignmentChange(action=AssignmentChange.REMOVE, task=Task(id="gone")),
    ]
    delta = known.receive(
        Assignments(type=Assignments.INCREMENTAL, applies_to="1", results_in="2", changes=changes)
    )
    assert delta is not None
    assert [change.WhichOneof("item") for change in delta.network_changes] == [
        "network",
        "endpoint",
    ]
    assert delta.removed_tasks == ["gone"]
    assert "s" in known.secrets


def test_a_gap_in_the_sequence_is_a_conflict() -> None:
    known = AssignmentSet()
    incremental = Assignments(type=Assignments.INCREMENTAL, applies_to="7", results_in="8")
    with pytest.raises(Conflict):
        known.receive(incremental)
    known.receive(complete(at="1"))
    with pytest.raises(Conflict):
        known.receive(incremental)


def test_secrets_go_with_the_complete_set_that_lacks_them() -> None:
    known = AssignmentSet()
    known.receive(complete(AssignmentChange(secret=Secret(id="s"))))
    known.restart()
    known.receive(complete(at="2"))
    assert not known.secrets
