"""The orchestrators' loop: which services and places are dirty, and one turn for each."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from swarmlite.model.task_states import PENDING, READY, RUNNING, STARTING
from swarmlite.proto.objects_pb2 import Node, Service, Task
from swarmlite.proto.types_pb2 import UpdateConfig

from ..isolation import apart
from ..store.api import Action, Change, Event
from ..store.tables import Place as PlaceKey
from ..store.tables import Tables, place_of
from ..times import Past, created, state_since
from . import global_, jobs, replicated
from .nodes import takes_new
from .places import sort_place
from .rebalancing import ask_for_moves
from .turn import IN_PROGRESS, Turn

BUDGET = 1000
"""Changes in one plan: what they cost is the longest that the manager's API waits for a loop."""

START_S = 10.0
"""How long a task is taken to have needed to start, when nobody saw it."""

RECONCILE = {
    "replicated": replicated.reconcile,
    "global": global_.reconcile,
    "replicated_job": jobs.reconcile_replicated,
    "global_job": jobs.reconcile_global,
}


class Orchestrator:
    """Implements Loop. Task events dirty their place; spec, node and count changes the service."""

    kinds: tuple[str, ...] = ("service", "task", "node")

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._forget()

    def _forget(self) -> None:
        self._services: dict[str, None] = {}
        self._places: dict[PlaceKey, None] = {}
        self._unfilled: dict[str, Sequence[int]] = {}
        self._nodes: set[str] = set()
        self._progressed: dict[PlaceKey, None] = {}
        self._dependents: set[str] = set()
        self._more_nodes = False
        self._to_balance: set[str] = set()
        self._came_far: set[str] = set()
        self._timers: list[tuple[float, str]] = []
        self._timer_of: dict[str, float] = {}
        self._ran_since: dict[str, float] = {}
        self._past = Past()

    def reset(self, view: Tables) -> None:
        """As Loop.reset."""
        self._forget()
        self._services = dict.fromkeys(service.id for service in view.services)
        self._dependents = {service.id for service in view.services if service.spec.depends_on}
        self._more_nodes = True  # for all that is known: the one before may not have got to it
        for task in view.tasks:
            if task.service_id and task.service_id not in self._services:
                self._services[task.service_id] = None
            if task.status.state > RUNNING:
                # Its end was not seen: taken as having run soon after its creation.
                self._ran_since[task.id] = min(created(task) + START_S, state_since(task))

    def observe(self, events: Sequence[Event]) -> None:
        """As Loop.observe."""
        for event in events:
            if isinstance(event.obj, Task):
                self._observe_task(event.action, event.obj, event.old)
            elif isinstance(event.obj, Node):
                if not isinstance(event.old, Node) or matters(event.obj, event.old):
                    self._nodes.add(event.obj.id)
                before = isinstance(event.old, Node) and takes_new(event.old)
                if event.action is not Action.REMOVE and takes_new(event.obj) and not before:
                    self._more_nodes = True
            elif isinstance(event.obj, Service):
                self._observe_service(event.action, event.obj)

    def _observe_service(self, action: Action, service: Service) -> None:
        self._services[service.id] = None
        if service.spec.depends_on and action is not Action.REMOVE:
            self._dependents.add(service.id)
        else:
            self._dependents.discard(service.id)
        if self._dependents:
            self._came_far.add(service.spec.annotations.name)

    def _observe_task(self, action: Action, task: Task, old: object) -> None:
        if not task.service_id:
            return
        if self._dependents and task.status.state >= STARTING:
            self._came_far.add(task.service_annotations.name)
        if action is Action.REMOVE:
            self._ran_since.pop(task.id, None)
            if task.desired_state <= RUNNING:
                self._services[task.service_id] = None
        elif not isinstance(old, Task):
            if task.desired_state == READY or task.status.state > RUNNING:
                self._places[place_of(task)] = None
        elif task.status.state > RUNNING >= old.status.state:
            if old.status.state == RUNNING:
                self._ran_since[task.id] = state_since(old)
            self._places[place_of(task)] = None
        elif task.desired_state != old.desired_state:
            self._places[place_of(task)] = None
        elif task.status.state == RUNNING != old.status.state:
            self._progressed[place_of(task)] = None
        elif task.status.err != old.status.err and old.status.state <= PENDING:
            # An update goes on past what cannot be placed, and counts it again once it can.
            self._progressed[place_of(task)] = None

    def plan(self, view: Tables, now: float) -> list[Change]:
        """As Loop.plan."""
        self._mark(view, now)
        changes: list[Change] = []
        # What is decided here is not in the view yet: nothing is decided twice in one plan.
        decided: set[str] = set()
        for place in list(self._places):
            service = view.services.get(place[0])
            if service is None or needs_whole_turns(service):
                del self._places[place]
                self._services[place[0]] = None
            elif place[0] in self._services:
                del self._places[place]
        for service_id in list(self._services):
            if len(changes) >= self._budget:
                return changes
            del self._services[service_id]
            decided.add(service_id)
            left = self._budget - len(changes)
            planned = apart("service", service_id, self._plan_service, view, service_id, now, left)
            changes += planned or ()
        settled: set[PlaceKey] = set()
        for place in list(self._places):
            if len(changes) >= self._budget:
                return changes
            if place[0] not in decided:
                del self._places[place]
                settled.add(place)
                changes += apart("service", place[0], self._plan_place, view, place, now) or ()
        for service_id in self._unfilled.keys() - decided:
            if len(changes) >= self._budget:
                return changes
            left = self._budget - len(changes)
            more = apart("service", service_id, self._go_on, view, service_id, now, left, settled)
            changes += more or ()
        return changes

    def _mark(self, view: Tables, now: float) -> None:
        """Turn nodes, progress and timers that are due into dirty services and places."""
        for node_id in self._nodes:
            self._places.update(
                dict.fromkeys(place_of(t) for t in view.tasks.of_node(node_id).values())
            )
        if self._nodes:
            on_nodes = (s.id for s in view.services if s.spec.WhichOneof("mode") in PER_NODE)
            self._services.update(dict.fromkeys(on_nodes))
            self._nodes.clear()
        if self._more_nodes:
            self._more_nodes = False
            moving = [s.id for s in view.services if s.spec.rebalance_on_join]
            self._to_balance.update(moving)
            self._services.update(dict.fromkeys(moving))
        for place in self._progressed:
            service = view.services.get(place[0])
            if service is not None and awaits_running(service):
                self._places[place] = None
        self._progressed.clear()
        if self._came_far:
            self._services.update(dict.fromkeys(self._waiting_updates(view)))
            self._came_far.clear()
        if now < self._past.now:
            # The clock stepped back: what waits for a time is decided again, by the new one.
            self._services.update(dict.fromkeys(self._timer_of))
            self._timers.clear()
            self._timer_of.clear()
        self._past.at(now)
        while self._timers and self._timers[0][0] <= now:
            at, service_id = heapq.heappop(self._timers)
            if self._timer_of.get(service_id) == at:
                del self._timer_of[service_id]
                self._services[service_id] = None

    def _waiting_updates(self, view: Tables) -> Iterator[str]:
        """Services whose update may have waited for others, of which there is news."""
        for service_id in self._dependents:
            service = view.services.get(service_id)
            if service is not None and service.update_status.state in IN_PROGRESS:
                names = {dependency.service for dependency in service.spec.depends_on}
                if not names.isdisjoint(self._came_far):
                    yield service_id

    def _go_on(
        self, view: Tables, service_id: str, now: float, budget: int, settled: set[PlaceKey]
    ) -> list[Change]:
        """The next part of filling a large service's slots, but for those just `settled`."""
        slots, service = self._unfilled.pop(service_id), view.services.get(service_id)
        if service is None:
            self._services[service_id] = None
            return []
        turn = Turn(service, view, now, budget, self._ran_since, self._past)
        replicated.go_on(turn, [s for s in slots if (service_id, s) not in settled])
        self._again(turn)
        return turn.changes

    def _again(self, turn: Turn) -> None:
        """Come back to a service of which the budget left a part."""
        if turn.unfilled:
            self._unfilled[turn.service.id] = turn.unfilled
        elif turn.cut_short:
            self._services[turn.service.id] = None

    def _plan_service(self, view: Tables, service_id: str, now: float, budget: int) -> list[Change]:
        self._unfilled.pop(service_id, None)
        service = view.services.get(service_id)
        turn = Turn(
            service or Service(id=service_id), view, now, budget, self._ran_since, self._past
        )
        if service is None or service.pending_delete:
            turn.remove(view.tasks.of_service(service_id).values())
        else:
            RECONCILE[service.spec.WhichOneof("mode") or "replicated"](turn)
            if service_id in self._to_balance and ask_for_moves(turn):
                self._to_balance.discard(service_id)
        self._again(turn)
        self._set_timer(service_id, turn.wake_at)
        return turn.changes

    def _plan_place(self, view: Tables, key: PlaceKey, now: float) -> list[Change]:
        service = view.services.get(key[0])
        if service is None:
            self._services[key[0]] = None
            return []
        turn = Turn(service, view, now, self._budget, self._ran_since, self._past)
        place = sort_place(key[1], view.tasks.of_place(key).values(), view, turn.leaving)
        if not place.desired:
            self._services[key[0]] = None
            return []
        turn.settle(place)
        self._set_timer(key[0], turn.wake_at)
        return turn.changes

    def _set_timer(self, service_id: str, at: float | None) -> None:
        known = self._timer_of.get(service_id)
        if at is not None and (known is None or at < known):
            self._timer_of[service_id] = at
            heapq.heappush(self._timers, (at, service_id))

    def refused(self, changes: Sequence[Change]) -> None:
        """As Loop.refused."""
        for change in changes:
            if isinstance(change.obj, Task):
                self._services[change.obj.service_id] = None
            else:
                self._services[change.obj.id] = None
                if isinstance(change.obj, Service) and change.obj.spec.rebalance_on_join:
                    self._to_balance.add(change.obj.id)  # what was refused may have asked for moves

    def wake_at(self) -> float | None:
        """As Loop.wake_at."""
        if self._services or self._places or self._unfilled or self._nodes or self._progressed:
            return 0.0
        return self._timers[0][0] if self._timers else None


PER_NODE = frozenset({"global", "global_job", "replicated_job"})
"""Modes whose places depend on more than their own tasks: nodes, or each other."""


def needs_whole_turns(service: Service) -> bool:
    """Whether one place's change concerns others: of such a mode, or while updating."""
    mode = service.spec.WhichOneof("mode")
    if mode in PER_NODE or service.spec.stopped or service.HasField("rebalance"):
        return True
    return service.update_status.state in IN_PROGRESS


def awaits_running(service: Service) -> bool:
    """Whether something is decided when a task reaches RUNNING: a predecessor may then end, also
    when the update that left it there is over.
    """
    configs = (service.spec.update, service.spec.rollback)
    start_first = any(config.order == UpdateConfig.START_FIRST for config in configs)
    return start_first or needs_whole_turns(service)


def matters(node: Node, old: Node) -> bool:
    """Whether a change of a node can change which tasks it should have."""
    return (
        node.status.state != old.status.state
        or node.role != old.role
        or node.spec != old.spec
        or node.description != old.description
    )
