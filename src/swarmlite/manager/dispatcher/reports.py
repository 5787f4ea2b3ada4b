"""What agents reported and what the dispatcher saw of nodes, merged until it is written.

Pure: `take` answers the changes against the view of that moment; what the store refused comes back
through `refused` and is merged again.
"""

from __future__ import annotations

import itertools
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from swarmlite.manager.store.api import Change, Delete, Put
from swarmlite.manager.store.tables import Tables
from swarmlite.model import encryption, task_states
from swarmlite.model.validate.reports import MAX_ID, bounded_description, bounded_status
from swarmlite.proto.dispatcher_pb2 import TaskStatusUpdate
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.types_pb2 import NodeDescription, NodeStatus, TaskStatus

log = logging.getLogger(__name__)

MAX_EARLY = 10_000
EARLY_S = 60.0
"""How many reports of tasks that are not known here yet are remembered, and how long."""


@dataclass(slots=True)
class TaskReport:
    """One task's newest status, and the node that reported it."""

    node_id: str
    status: TaskStatus


@dataclass(slots=True)
class NodeReport:
    """What is to be written of a node; None: unchanged."""

    status: NodeStatus | None = None
    description: NodeDescription | None = None


class Reports:
    """Statuses of tasks and nodes on their way to the store."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskReport] = {}
        self._nodes: dict[str, NodeReport] = {}
        self._tasks_in_flight: dict[str, TaskReport] = {}
        self._nodes_in_flight: dict[str, NodeReport] = {}
        self._early: dict[str, tuple[str, datetime]] = {}
        self._released: dict[str, None] = {}
        self._released_in_flight: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._tasks or self._nodes or self._released)

    def __len__(self) -> int:
        """What was said and is not in the store yet, that on its way included."""
        waiting = len(self._tasks) + len(self._nodes) + len(self._released)
        return waiting + len(self._tasks_in_flight) + len(self._nodes_in_flight)

    # what comes in
    def task(self, node_id: str, update: TaskStatusUpdate, view: Tables, now: datetime) -> None:
        """An agent's report of one task. Taken for the node's own tasks only."""
        task_id = update.task_id[:MAX_ID]
        if update.status.state not in task_states.AGENT_REPORTS:
            log.warning("state not an agent's node=%s task=%r", node_id, task_id)
            return
        task = view.tasks.get(task_id)
        if task is None or not task.node_id or task.status.state < task_states.ASSIGNED:
            # This manager's view is behind that of the manager that assigned it, or it is gone.
            if len(self._early) < MAX_EARLY:
                self._early[task_id] = (node_id, now)
        elif task.node_id != node_id:
            log.warning("task of another node reported node=%s task=%s", node_id, task_id)
        else:
            self._merge_task(task_id, TaskReport(node_id, bounded_status(update.status)))

    def again(self, view: Tables, now: datetime) -> dict[str, list[str]]:
        """By node, the tasks whose reports came too early and could be taken now."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for task_id, (node_id, came) in list(self._early.items()):
            task = view.tasks.get(task_id)
            if task is not None and task.node_id and task.status.state >= task_states.ASSIGNED:
                del self._early[task_id]
                if task.node_id == node_id:
                    found[node_id].append(task_id)
            elif not timedelta() <= now - came < timedelta(seconds=EARLY_S):
                del self._early[task_id]
        return found

    def node_status(self, node_id: str, status: NodeStatus) -> None:
        """What the dispatcher decided of a node."""
        self._nodes.setdefault(node_id, NodeReport()).status = status

    def forget_statuses(self) -> None:
        """Nodes are others' to judge: what was decided of them is not written any more."""
        for report in (*self._nodes.values(), *self._nodes_in_flight.values()):
            report.status = None

    def node_description(self, node_id: str, description: NodeDescription) -> None:
        """What a node says of itself."""
        kept = bounded_description(description)
        self._nodes.setdefault(node_id, NodeReport()).description = kept

    def released(self, attachments: Iterable[Task]) -> None:
        """A node no longer has these attachments."""
        self._released.update((task.id, None) for task in attachments)

    # what goes out
    def take(
        self, view: Tables, now: datetime, limit: int = 1_000_000, own_id: str = ""
    ) -> list[Change]:
        """The writes that bring the store to what was reported, `limit` tasks at most.

        `own_id` is this manager's: of a node whose session is with another by now, reports may be
        late. Then commit, then `refused` or `failed`, then the next.
        """
        self._tasks_in_flight = {}
        self._nodes, self._nodes_in_flight = {}, self._nodes
        self._released, self._released_in_flight = {}, self._released
        gone = map(view.tasks.get, self._released_in_flight)
        changes: list[Change] = [Delete(task) for task in gone if task is not None]
        for node_id, node_report in self._nodes_in_flight.items():
            node = _node_with(view.nodes.get(node_id), node_report, now, view)
            if node is not None:
                changes.append(Put(node))
        return changes + self.take_more(view, now, limit, own_id)

    def take_more(self, view: Tables, now: datetime, limit: int, own_id: str = "") -> list[Change]:
        """As `take`, of `limit` more tasks, for the same commit."""
        changes: list[Change] = []
        for task_id in list(itertools.islice(self._further(), limit)):
            report = self._tasks_in_flight[task_id] = self._tasks.pop(task_id)
            node = view.nodes.get(report.node_id)
            late = node is not None and node.status.manager_id not in ("", own_id)
            task = _task_with(view.tasks.get(task_id), report, task_id, now, late)
            if task is not None:
                changes.append(Put(task))
        return changes

    @property
    def has_more(self) -> bool:
        """Whether `take_more` has anything to take."""
        return next(self._further(), None) is not None

    def _further(self) -> Iterator[str]:
        """What is on its way already and was reported again is for the next commit."""
        return (task_id for task_id in self._tasks if task_id not in self._tasks_in_flight)

    def refused(self, changes: Iterable[Change]) -> None:
        """These conflicted: they are merged with what came since, and taken again."""
        for change in changes:
            if isinstance(change, Delete):
                self._released[change.obj.id] = None
            elif isinstance(change.obj, Task):
                self._merge_task(change.obj.id, self._tasks_in_flight[change.obj.id])
            elif isinstance(change.obj, Node):
                self._merge_node(change.obj.id)

    def dropped(self, change: Change) -> None:
        """This one cannot be written, whatever is tried: it is not taken again."""
        self._tasks_in_flight.pop(change.obj.id, None)
        self._nodes_in_flight.pop(change.obj.id, None)
        self._released_in_flight.pop(change.obj.id, None)

    def failed(self) -> None:
        """Nothing is known of the write: all of it is taken again."""
        self._released.update(self._released_in_flight)
        for task_id, report in self._tasks_in_flight.items():
            self._merge_task(task_id, report)
        for node_id in self._nodes_in_flight:
            self._merge_node(node_id)

    def _merge_task(self, task_id: str, report: TaskReport) -> None:
        pending = self._tasks.get(task_id)
        if pending is None or _follows(report.status, pending.status):
            self._tasks[task_id] = report

    def _merge_node(self, node_id: str) -> None:
        newer = self._nodes.setdefault(node_id, NodeReport())
        older = self._nodes_in_flight[node_id]
        newer.status = newer.status or older.status
        newer.description = newer.description or older.description


def _follows(new: TaskStatus, old: TaskStatus, late: bool = False) -> bool:
    """Whether `new` comes after `old`: a state only rises, and a final one stays as it is.

    Within a state the order is that of arrival: agents' clocks step. Only where reports may have
    taken another way (`late`) are their times compared.
    """
    if task_states.is_terminal(old.state):
        return False
    return new.state > old.state or (new.state == old.state and not (late and _older(new, old)))


def _older(new: TaskStatus, old: TaskStatus) -> bool:
    """Whether `new` of the same state was observed before `old`: a report that came late."""
    last = old.observed_at if old.HasField("observed_at") else old.timestamp
    return (new.timestamp.seconds, new.timestamp.nanos) < (last.seconds, last.nanos)


def _goes_on(new: TaskStatus, old: TaskStatus) -> bool:
    """Whether what runs is what ran before: an agent that starts reports its tasks once more.

    The state was then reached when it was first reported; a container that the agent started
    again by itself has another process.
    """
    before, after = old.container, new.container
    return (
        new.state == old.state
        and old.HasField("timestamp")
        and before.container_id in ("", after.container_id)
        and before.pid in (0, after.pid)
    )


def _task_with(
    task: Task | None, report: TaskReport, task_id: str, now: datetime, late: bool
) -> Task | None:
    if task is None:
        return None
    if task.node_id != report.node_id:
        log.warning("task of another node reported node=%s task=%s", report.node_id, task_id)
        return None
    stored = task.status
    if task_states.is_attachment(task):
        return None  # nothing of it runs: only the managers say what becomes of it
    if stored.state < task_states.ASSIGNED or not _follows(report.status, stored, late):
        return None
    copy = Task()
    copy.CopyFrom(task)
    status = copy.status
    status.CopyFrom(report.status)
    goes_on = _goes_on(report.status, stored)
    if goes_on:
        status.timestamp.CopyFrom(stored.timestamp)
    status.applied_by = report.node_id
    status.applied_at.CopyFrom(stored.applied_at)
    status.observed_at.CopyFrom(stored.observed_at)
    if status == stored:
        return None
    status.observed_at.CopyFrom(report.status.timestamp)
    if not goes_on:
        status.applied_at.FromDatetime(now)
    return copy


def _node_with(node: Node | None, report: NodeReport, now: datetime, view: Tables) -> Node | None:
    if node is None:
        return None
    copy = Node()
    copy.CopyFrom(node)
    if report.description is not None:
        copy.description.CopyFrom(report.description)
        copy.description.hostname = _host_name(node, report.description.hostname, view)
        if encryption.claims(copy) != encryption.claims(node):
            copy.place_since.FromDatetime(now)
    if report.status is not None:
        if _superseded(report.status, node.status):
            return None
        copy.status.CopyFrom(report.status)
        copy.status.since.CopyFrom(node.status.since)
        if copy.status != node.status:
            copy.status.since.FromDatetime(now)
    return None if copy == node else copy


def _host_name(node: Node, wanted: str, view: Tables) -> str:
    """A node's name changes to none that another node has: placement goes by it."""
    known = node.description.hostname
    if wanted and all(other.id == node.id for other in view.nodes.named_alike(wanted)):
        return wanted
    if wanted != known:
        log.warning("name of another node claimed node=%s name=%r", node.id, wanted)
    return known or wanted


def _superseded(new: NodeStatus, stored: NodeStatus) -> bool:
    """Whether a verdict of DOWN comes too late: the node has a session with another manager."""
    return (
        new.state == NodeStatus.DOWN
        and stored.state == NodeStatus.READY
        and bool(stored.manager_id)
        and stored.manager_id != new.manager_id
    )
