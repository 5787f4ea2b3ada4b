"""The constraint enforcer: tasks that no longer fit their node are rejected.

It writes the observed state, as an agent would, and not the desired one: the orchestrators then
replace the task as any that ended. Nodes that are down or drained are theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from swarmlite.errors import InvalidSpec
from swarmlite.model import constraints, permissions
from swarmlite.model.task_states import ASSIGNED, REJECTED, RUNNING
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.types_pb2 import Resources

from .isolation import apart
from .restart import must_leave
from .store.api import Action, Change, Event, Put
from .store.tables import Tables
from .times import order, stamp


class Enforcer:
    """Implements Loop. A node is dirty when what it has or says of itself changed."""

    kinds: tuple[str, ...] = ("node",)

    def __init__(self) -> None:
        self._nodes: dict[str, None] = {}

    def reset(self, view: Tables) -> None:
        """As Loop.reset."""
        self._nodes = {node.id: None for node in view.nodes}

    def observe(self, events: Sequence[Event]) -> None:
        """As Loop.observe."""
        for event in events:
            node, old = event.obj, event.old
            if event.action is Action.REMOVE or not isinstance(node, Node):
                continue
            if not isinstance(old, Node) or differs(node, old):
                self._nodes[node.id] = None

    def plan(self, view: Tables, now: float) -> list[Change]:
        """As Loop.plan."""
        changes: list[Change] = []
        for node_id in self._nodes:
            node = view.nodes.get(node_id)
            if node is None or must_leave(node):
                continue
            tasks = view.tasks.of_node(node_id).values()
            found = apart("node", node_id, misfits, node, tasks) or ()
            changes.extend(Put(reject(task, why, now)) for task, why in found)
        self._nodes.clear()
        return changes

    def refused(self, changes: Sequence[Change]) -> None:
        """As Loop.refused."""
        for change in changes:
            assert isinstance(change.obj, Task)
            self._nodes[change.obj.node_id] = None

    def wake_at(self) -> float | None:
        """As Loop.wake_at."""
        return 0.0 if self._nodes else None


def differs(node: Node, old: Node) -> bool:
    """Whether a change of a node can make tasks unfit for it."""
    return (
        node.spec.annotations != old.spec.annotations
        or node.role != old.role
        or node.description != old.description
        or node.status.addr != old.status.addr
        or node.spec.allowed != old.spec.allowed
        or node.spec.availability != old.spec.availability
    )


def misfits(node: Node, tasks: Iterable[Task]) -> list[tuple[Task, str]]:
    """The tasks that the node may not or cannot hold, those beyond its resources the newest."""
    found = []
    known = node.description.HasField("resources")
    left = Resources(
        nano_cpus=node.description.resources.nano_cpus,
        memory_bytes=node.description.resources.memory_bytes,
    )
    held = [t for t in tasks if ASSIGNED <= t.status.state <= RUNNING >= t.desired_state]
    for task in sorted(held, key=order):
        why = unmet(task, node) or (overdrawn(task, left) if known else "")
        if why:
            found.append((task, why))
            continue
        left.nano_cpus -= task.spec.resources.reservations.nano_cpus
        left.memory_bytes -= task.spec.resources.reservations.memory_bytes
    return found


def unmet(task: Task, node: Node) -> str:
    """What the node does not meet or allow, in words; empty when it suits."""
    for text in task.spec.placement.constraints:
        try:
            constraint = constraints.parse_one(text)
        except InvalidSpec:
            continue  # never scheduled with it: not for this loop to judge
        if not constraint.matches(node):
            return f"the node no longer meets the constraint {constraint}"
    if missing := permissions.missing(permissions.needed(task.spec.container), node):
        return f"the node no longer allows {missing}"
    return ""


def overdrawn(task: Task, left: Resources) -> str:
    """The reservation that the node can no longer keep, in words; empty when it keeps all."""
    reserved = task.spec.resources.reservations
    if reserved.nano_cpus > max(0, left.nano_cpus):
        return "the node no longer has the reserved cpu"
    if reserved.memory_bytes > max(0, left.memory_bytes):
        return "the node no longer has the reserved memory"
    return ""


def reject(task: Task, why: str, now: float) -> Task:
    """A copy that has ended because of its node."""
    rejected = Task()
    rejected.CopyFrom(task)
    rejected.status.state = REJECTED
    rejected.status.message = "task rejected by the constraint enforcer"
    rejected.status.err = why
    rejected.status.applied_by = ""  # not its node's own word
    stamp(rejected.status.timestamp, now)
    stamp(rejected.status.applied_at, now)
    return rejected
