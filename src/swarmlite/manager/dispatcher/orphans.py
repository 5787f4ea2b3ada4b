"""Tasks of nodes that are gone, or DOWN for a day: nobody will report of them again. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from swarmlite.manager.store.api import Change, Delete, Put
from swarmlite.manager.store.tables import Tables
from swarmlite.model import task_states
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.types_pb2 import NodeStatus

ORPHAN_AFTER = timedelta(hours=24)
FORGOTTEN_AFTER = timedelta(minutes=1)


def orphans(view: Tables, now: datetime, by: str) -> list[Change]:
    """What is to be written of them; `by` is the manager that decides it."""
    changes: list[Change] = []
    for task in view.tasks:
        gone = bool(task.node_id) and _long_gone(view.nodes.get(task.node_id), now)
        if task_states.is_attachment(task):
            if _long_gone(view.nodes.get(task.node_id), now) or _forgotten(task, now):
                changes.append(Delete(task))
        elif gone and task_states.ASSIGNED <= task.status.state <= task_states.RUNNING:
            changes.append(Put(_orphan(task, now, by)))
    return changes


def _orphan(task: Task, now: datetime, by: str) -> Task:
    copy = Task()
    copy.CopyFrom(task)
    copy.status.state = task_states.ORPHANED
    copy.status.message = "the node is gone"
    copy.status.timestamp.FromDatetime(now)
    copy.status.applied_by = by
    copy.status.applied_at.FromDatetime(now)
    return copy


def _forgotten(task: Task, now: datetime) -> bool:
    """An attachment without an address whose caller, and its manager, are long gone."""
    age = now - task.meta.created_at.ToDatetime(UTC)
    return task.status.state < task_states.ASSIGNED and age > FORGOTTEN_AFTER


def _long_gone(node: Node | None, now: datetime) -> bool:
    if node is None:
        return True
    down = node.status.state == NodeStatus.DOWN and node.status.HasField("since")
    return down and now - node.status.since.ToDatetime(UTC) > ORPHAN_AFTER
