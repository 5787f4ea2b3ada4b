"""The task reaper: only it deletes tasks.

What was removed goes once it has ended (or can never be heard of again), what was never assigned
at once, and of each place only the last few ended tasks are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from swarmlite.model.defaults import TASK_HISTORY, task_history_limit
from swarmlite.model.task_states import ASSIGNED, COMPLETE, REMOVE, RUNNING
from swarmlite.proto.objects_pb2 import Cluster, Node, Service, Task
from swarmlite.proto.types_pb2 import NodeStatus

from .isolation import apart
from .store.api import Action, Change, Delete, Event
from .store.tables import Place, Tables, place_of
from .times import order

BUDGET = 1000


class Reaper:
    """Implements Loop. Places are dirty when one of their tasks ended or is no longer desired."""

    kinds: tuple[str, ...] = ("task", "node", "cluster", "service")

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._places: dict[Place, None] = {}
        self._nodes: set[str] = set()
        self._all = False

    def reset(self, view: Tables) -> None:
        """As Loop.reset."""
        self._nodes.clear()
        self._all = True

    def observe(self, events: Sequence[Event]) -> None:
        """As Loop.observe."""
        for event in events:
            obj = event.obj
            if isinstance(obj, Task):
                gone = event.action is Action.REMOVE
                if not gone and obj.desired_state > RUNNING:
                    self._places[place_of(obj)] = None
            elif isinstance(obj, Node):
                old = event.old
                if not isinstance(old, Node) or old.status.state != obj.status.state:
                    self._nodes.add(obj.id)
            elif isinstance(obj, Cluster):
                self._all = True

    def plan(self, view: Tables, now: float) -> list[Change]:
        """As Loop.plan."""
        if self._all:
            self._all = False
            self._places.update(dict.fromkeys(map(place_of, view.tasks)))
        for node_id in self._nodes:
            tasks = view.tasks.of_node(node_id).values()
            self._places.update(dict.fromkeys(map(place_of, tasks)))
        self._nodes.clear()
        limit = task_history_limit(view.cluster.spec) if view.cluster else TASK_HISTORY
        changes: list[Change] = []
        for place in list(self._places):
            if len(changes) >= self._budget:
                break
            del self._places[place]
            tasks = view.tasks.of_place(place).values()
            service = view.services.get(place[0])
            gone = apart("service", place[0], superfluous, tasks, service, limit, view) or ()
            changes.extend(Delete(task) for task in gone)
        return changes

    def refused(self, changes: Sequence[Change]) -> None:
        """As Loop.refused."""
        for change in changes:
            assert isinstance(change.obj, Task)
            self._places[place_of(change.obj)] = None

    def wake_at(self) -> float | None:
        """As Loop.wake_at."""
        return 0.0 if self._places or self._nodes or self._all else None


def superfluous(
    tasks: Iterable[Task], service: Service | None, limit: int, view: Tables
) -> list[Task]:
    """The tasks of one place that are not kept; `limit` below 0 keeps all history."""
    history: list[Task] = []
    deleted: list[Task] = []
    for task in tasks:
        if task.desired_state <= RUNNING or not is_over(task, view):
            continue
        if task.desired_state == REMOVE or task.status.state < ASSIGNED:
            deleted.append(task)
        elif not is_needed(task, service):
            history.append(task)
    if limit >= 0:
        history.sort(key=order, reverse=True)
        deleted.extend(history[kept_of(history, limit) :])
    return deleted


def is_over(task: Task, view: Tables) -> bool:
    """Whether nothing of the task runs, or what does can no longer be asked about it.

    A node that comes back learns from its first assignments what it no longer has.
    """
    if task.status.state >= COMPLETE or task.status.state < ASSIGNED:
        return True
    node = view.nodes.get(task.node_id)
    return node is None or node.status.state == NodeStatus.DOWN


def is_needed(task: Task, service: Service | None) -> bool:
    """Whether the orchestrator reads this ended task: a job's, that says its part is done."""
    return (
        service is not None
        and service.spec.WhichOneof("mode") in ("replicated_job", "global_job")
        and task.status.state == COMPLETE
        and task.job_iteration.index == service.job_status.job_iteration
    )


def kept_of(history: Sequence[Task], limit: int) -> int:
    """How many of a place's ended tasks stay: the attempts of a restart policy are counted here."""
    attempts = history[0].spec.restart.max_attempts if history else 0
    return max(limit, attempts + 1) if attempts else limit
