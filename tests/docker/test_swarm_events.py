"""What the swarm's events say: each change of a task's state, and a change of leader."""

from __future__ import annotations

from swarmlite.docker.swarmevent import KINDS, WITH_TASKS, SwarmEvents, kinds_of, passes
from swarmlite.model import task_states
from swarmlite.proto.control_pb2 import UPDATE, Filter, WatchResponse
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.types_pb2 import TaskState

RUNNING, ASSIGNED = task_states.RUNNING, task_states.ASSIGNED


def task(state: TaskState.ValueType) -> Task:
    made = Task(id="t1", service_id="s1", node_id="n1", slot=1, desired_state=RUNNING)
    made.annotations.name = "web.1.t1"
    made.service_annotations.name = "web"
    made.status.state = state
    return made


def test_a_task_is_told_at_each_change_of_its_state_only() -> None:
    told = SwarmEvents()
    told.seen(task(ASSIGNED))
    event = WatchResponse.Event(action=UPDATE, task=task(RUNNING))
    body = told.body(event, 5)
    assert body is not None
    assert (body["Type"], body["Action"], body["scope"]) == ("task", "update", "swarm")
    assert body["Actor"]["Attributes"] == {
        "name": "web.1.t1", "service": "s1", "node": "n1",
        "state.old": "assigned", "state.new": "running",
    }  # fmt: skip
    assert told.body(event, 6) is None
    assert passes(body, event, [Filter(key="service", values=["web"])])
    assert passes(body, event, [Filter(key="node", values=["n1"]), Filter(key="scope")])
    assert not passes(body, event, [Filter(key="service", values=["db"])])


def test_another_leader_is_an_update_of_its_node() -> None:
    told = SwarmEvents()
    told.seen(Node(id="n1"))
    node = Node(id="n1")
    node.manager_status.leader = True
    body = told.body(WatchResponse.Event(action=UPDATE, node=node), 5)
    assert body is not None
    assert body["Actor"]["Attributes"]["leader.new"] == "true"


def test_dockers_clients_hear_of_tasks_only_when_they_ask() -> None:
    assert kinds_of([], KINDS) == KINDS
    assert kinds_of([], WITH_TASKS) == WITH_TASKS
    assert kinds_of([Filter(key="type", values=["task"])], KINDS) == ("task",)
    assert kinds_of([Filter(key="type", values=["container"])], KINDS) == ()
    assert kinds_of([Filter(key="scope", values=["local"])], KINDS) == ()
