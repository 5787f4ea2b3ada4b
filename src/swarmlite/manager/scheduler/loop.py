"""The scheduler's loop.

Tasks that came together are placed together, in groups of one service and version. It does not
wait for more to come: while a batch is being written the next one gathers, so that a burst makes
large groups and a single task loses no time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial

from swarmlite.model import permissions
from swarmlite.model.encryption import displaced, is_encrypted
from swarmlite.model.task_states import ASSIGNED, PENDING, RUNNING, STARTING
from swarmlite.proto.objects_pb2 import Node, Service, Task
from swarmlite.proto.types_pb2 import Placement

from ..dependencies import Gate, waiting_for
from ..isolation import apart
from ..store.api import Action, Change, Event, Put
from ..store.tables import Tables
from ..times import stamp
from .filters import Encrypts, Filters
from .nodes import Demand, Group, NodeInfo, Nodes
from .ranking import ByTotal, rank

BUDGET = 1000
SMALL_GROUP = 0.1
"""Groups of fewer tasks than this share of the nodes are placed by the nodes' totals."""


class Scheduler:
    """Implements Loop. Tasks without a suitable node wait, with the reason in their status."""

    kinds: tuple[str, ...] = ("task", "node", "service")

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._nodes = Nodes()
        self._pending: dict[str, None] = {}
        self._waiting: dict[str, None] = {}
        self._gate = Gate()
        self._joined: list[str] = []
        self._orders: dict[tuple[str, ...], ByTotal] = {}

    def reset(self, view: Tables) -> None:
        """As Loop.reset."""
        self._nodes = Nodes.of(view)
        self._waiting.clear()
        self._gate = Gate()
        self._orders.clear()
        self._pending = {t.id: None for t in view.tasks if is_schedulable(t)}

    def observe(self, events: Sequence[Event]) -> None:
        """As Loop.observe."""
        for event in events:
            obj = event.obj
            if isinstance(obj, Task):
                self._observe_task(event.action, obj)
            elif isinstance(obj, Node):
                self._observe_node(event.action, obj)
            elif isinstance(obj, Service):
                self._observe_service(obj, event.old)

    def _observe_task(self, action: Action, task: Task) -> None:
        if action is Action.REMOVE:
            self._pending.pop(task.id, None)
            self._waiting.pop(task.id, None)
            self._gate.forget(task.id)
            if self._nodes.remove_task(task.id):
                self._released()
            return
        if task.status.state == PENDING:
            if task.id not in self._waiting and task.id not in self._gate:
                self._pending[task.id] = None
            return
        if task.status.state >= STARTING:
            self._let_go(task.service_annotations.name)
        if self._nodes.put_task(task):
            self._nodes.note_failure(task)
            self._released()

    def _observe_service(self, service: Service, old: object) -> None:
        """Who waited for it, or was held by what it no longer depends on, is looked at again."""
        self._let_go(service.spec.annotations.name)
        if isinstance(old, Service) and old.spec.depends_on != service.spec.depends_on:
            for dependency in old.spec.depends_on:
                self._let_go(dependency.service)

    def _let_go(self, name: str) -> None:
        self._pending.update(dict.fromkeys(self._gate.release(name)))

    def _observe_node(self, action: Action, node: Node) -> None:
        self._orders.clear()
        if action is Action.REMOVE:
            self._nodes.remove_node(node.id)
        else:
            if node.id not in self._nodes.infos:
                self._joined.append(node.id)
            self._nodes.put_node(node)
        self._retry()

    def _released(self) -> None:
        self._orders.clear()
        self._retry()

    def _retry(self) -> None:
        """Something may fit now that did not before."""
        if self._waiting:
            self._pending.update(self._waiting)
            self._waiting.clear()

    def plan(self, view: Tables, now: float) -> list[Change]:
        """As Loop.plan."""
        for node_id in self._joined:
            for task in view.tasks.of_node(node_id).values():
                self._nodes.put_task(task)
        self._joined.clear()
        changes: list[Change] = []
        for group, tasks in self._take_groups(view).items():
            service = view.services.get(group[0][0])
            if service is not None and (why := waiting_for(service.spec, view)):
                self._hold(tasks, service, why, changes)
                continue
            place = partial(self._place, encrypts=_encrypts(view, tasks[0]))
            apart("service", group[0][0], place, group, tasks, now, changes)
        return changes

    def _take_groups(self, view: Tables) -> dict[tuple[Group, str], list[Task]]:
        """Up to a budget of pending tasks, by service, version and the node that is set before."""
        groups: defaultdict[tuple[Group, str], list[Task]] = defaultdict(list)
        taken = 0
        for task_id in list(self._pending):
            if taken >= self._budget:
                break
            del self._pending[task_id]
            task = view.tasks.get(task_id)
            if task is not None and is_schedulable(task):
                group = task.service_id or task.id, task.spec_version.index
                groups[group, task.node_id].append(task)
                taken += 1
        return groups

    def _place(
        self,
        key: tuple[Group, str],
        tasks: list[Task],
        now: float,
        changes: list[Change],
        encrypts: Encrypts | None = None,
    ) -> None:
        group, node_id = key
        demand = self._nodes.demand_of(tasks[0])
        filters = Filters(tasks[0], demand, encrypts)
        if node_id:
            info = self._nodes.infos.get(node_id)
            candidates = [] if info is None else [info]
            placed = self._place_on(candidates, [], group, tasks, filters, now, demand, changes)
        else:
            placed = self._place_few(group, tasks, filters, now, demand, changes)
            if not placed:
                descriptors = [
                    p.spread.spread_descriptor for p in tasks[0].spec.placement.preferences
                ]
                candidates = list(self._nodes.infos.values())
                placed = self._place_on(
                    candidates, descriptors, group, tasks, filters, now, demand, changes
                )
        if placed < len(tasks):
            reason = filters.explain(candidates)
            for task in tasks[placed:]:
                self._wait(task, reason, changes)

    def _place_few(
        self,
        group: Group,
        tasks: list[Task],
        filters: Filters,
        now: float,
        demand: Demand,
        changes: list[Change],
    ) -> int:
        """Place a small group by the nodes' totals, all or nothing; answer how many."""
        placement = tasks[0].spec.placement
        packed = placement.strategy == Placement.BINPACK
        if packed or placement.preferences or len(tasks) > len(self._nodes.infos) * SMALL_GROUP:
            return 0
        signature = (
            *placement.constraints,
            *(f"{p.os}/{p.architecture}" for p in placement.platforms),
            *permissions.needed(tasks[0].spec.container),
        )
        order = self._orders.get(signature)
        if order is None:
            steady = filters.steady
            order = self._orders[signature] = ByTotal(
                info
                for info in self._nodes.infos.values()
                if all(rule.check(info) is None for rule in steady)
            )
        infos = order.best(len(tasks), filters, group, now)
        if infos is None:
            return 0
        for task, info in zip(tasks, infos, strict=True):
            self._assign(task, info, demand, now, changes)
        return len(tasks)

    def _place_on(
        self,
        candidates: Sequence[NodeInfo],
        descriptors: Sequence[str],
        group: Group,
        tasks: list[Task],
        filters: Filters,
        now: float,
        demand: Demand,
        changes: list[Change],
    ) -> int:
        """Place as many of a group as fit; answer how many."""
        passed = [info for info in candidates if filters.check(info) is None]
        ranking = rank(passed, descriptors, filters, group, now, tasks[0].spec.placement.strategy)
        for placed, task in enumerate(tasks):
            info = ranking.take()
            if info is None:
                return placed
            self._assign(task, info, demand, now, changes)
        return len(tasks)

    def _assign(
        self, task: Task, info: NodeInfo, demand: Demand, now: float, changes: list[Change]
    ) -> None:
        assigned = Task()
        assigned.CopyFrom(task)
        assigned.node_id = info.node.id
        if demand.generic:
            assigned.assigned_generic_resources.extend(info.choose(demand))
        self._nodes.hold(assigned, info, demand)
        status = assigned.status
        status.state = ASSIGNED
        status.message = "scheduler assigned task to node"
        status.err = ""
        stamp(status.timestamp, now)
        changes.append(Put(assigned))

    def _hold(
        self, tasks: Iterable[Task], service: Service, reason: str, changes: list[Change]
    ) -> None:
        """They wait for other services, and not for nodes."""
        for task in tasks:
            self._wait(task, reason, changes)
            del self._waiting[task.id]
            self._gate.hold(task.id, service.spec)

    def _wait(self, task: Task, reason: str, changes: list[Change]) -> None:
        self._waiting[task.id] = None
        if reason != task.status.err:
            waiting = Task()
            waiting.CopyFrom(task)
            waiting.status.err = reason
            changes.append(Put(waiting))

    def refused(self, changes: Sequence[Change]) -> None:
        """As Loop.refused."""
        for change in changes:
            self._nodes.remove_task(change.obj.id)
            self._waiting.pop(change.obj.id, None)
            self._gate.forget(change.obj.id)
            self._pending[change.obj.id] = None

    def wake_at(self) -> float | None:
        """As Loop.wake_at."""
        return 0.0 if self._pending else None


def is_schedulable(task: Task) -> bool:
    """Whether the task waits for a node."""
    return task.status.state == PENDING and task.desired_state <= RUNNING


def _encrypts(view: Tables, task: Task) -> Encrypts | None:
    networks = (view.networks.get(place.network_id) for place in task.networks)
    names = [n.spec.annotations.name for n in networks if n is not None and is_encrypted(n)]
    return Encrypts(names, displaced(view.nodes)) if names else None
