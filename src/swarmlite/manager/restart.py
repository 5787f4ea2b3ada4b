"""Restart policy: whether an ended task is replaced, and when its replacement may start.

Pure over a place's tasks, so that a new leader decides as the old one did: attempts are counted
from the ended tasks that the reaper keeps, and delays run from the replacement's creation.
"""

from __future__ import annotations

from collections.abc import Iterable

from swarmlite.model.defaults import restart_delay_s
from swarmlite.model.task_states import ASSIGNED, COMPLETE, FAILED, REJECTED, RUNNING
from swarmlite.model.units import seconds
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeStatus, RestartPolicy

from .store.tables import Tables
from .times import Past, created, order, state_since

OLD_TASK_TIMEOUT_S = 60.0
"""A replacement starts after this even when the task before it has not stopped."""

ENDED_BY_ITSELF = frozenset({COMPLETE, FAILED, REJECTED})
"""Ends that the managers did not ask for: the policy is about these."""


def should_restart(task: Task, place: Iterable[Task]) -> bool:
    """Whether `task`, the newest of its place and ended by itself, gets a replacement."""
    policy = task.spec.restart
    if policy.condition == RestartPolicy.NONE:
        return False
    if policy.condition == RestartPolicy.ON_FAILURE and task.status.state == COMPLETE:
        return False
    if policy.max_attempts == 0:
        return True
    window_s = seconds(policy.window)
    since = state_since(task) - window_s if window_s else 0.0
    ends = sum(
        1
        for other in place
        if other.status.state in ENDED_BY_ITSELF
        and other.spec_version == task.spec_version
        and state_since(other) >= since
    )
    return ends <= policy.max_attempts


def must_leave(node: Node | None) -> bool:
    """Whether tasks have to move off this node: it is gone, down, or drained."""
    return (
        node is None
        or node.status.state == NodeStatus.DOWN
        or node.spec.availability == NodeSpec.DRAIN
    )


def still_going(task: Task, view: Tables) -> bool:
    """Whether a container of `task` may exist on a node that can be reached."""
    if not ASSIGNED <= task.status.state <= RUNNING:
        return False
    node = view.nodes.get(task.node_id)
    return node is not None and node.status.state != NodeStatus.DOWN


def delay_s(
    previous: Task, service_version: int, view: Tables, failures: int | None = None
) -> float:
    """Seconds between the creation of `previous`'s replacement and its start.

    `failures` in a row before `previous`, where they are not what it was made with. None for what
    the managers moved: a drain, a lost node, an update.
    """
    if previous.status.state not in ENDED_BY_ITSELF:
        return 0.0
    if previous.spec_version.index != service_version:
        return 0.0
    if previous.node_id and must_leave(view.nodes.get(previous.node_id)):
        return 0.0
    return restart_delay_s(previous.spec, previous.failures if failures is None else failures)


def start_at(task: Task, place: Iterable[Task], view: Tables, past: Past) -> float:
    """When `task`, desired READY, may be desired RUNNING; at most a minute after its creation.

    An older task that is still going holds it back; its end is an event that asks again.
    """
    others = [t for t in place if t.id != task.id]
    if not others:
        return 0.0
    previous = max(others, key=order)
    began = past(created(task))
    at = began + delay_s(previous, task.spec_version.index, view, max(0, task.failures - 1))
    if any(still_going(t, view) for t in others):
        at = max(at, began + OLD_TASK_TIMEOUT_S)
    return at
