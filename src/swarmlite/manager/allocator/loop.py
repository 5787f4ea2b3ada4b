"""The allocator's loop: networks first, then services and nodes on them, then tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from swarmlite.errors import SwarmliteError
from swarmlite.model.task_states import NEW, RUNNING
from swarmlite.proto.objects_pb2 import Cluster, Network, Node, Service, Task

from ..store.api import Action, Change, Event, Put
from ..store.tables import Tables
from .endpoints import (
    Wanted,
    allocate_node,
    allocate_service,
    allocate_task,
    is_current,
    missing_network,
    publishes_ingress,
    settle_service,
    task_networks,
)
from .networks import allocate_network
from .state import State, ingress_network, is_allocated, needs_addresses

log = logging.getLogger(__name__)

BUDGET = 1000
T = TypeVar("T")


@dataclass
class Recipe:
    """What tasks of one service and version are given."""

    service: Service | None
    networks: Wanted
    obstacle: str | None = None
    """Why they cannot be allocated now; "" while it is a matter of moments."""


class Allocator:
    """Implements Loop. What cannot be had now waits, with the reason in the tasks' status."""

    kinds: tuple[str, ...] = ("cluster", "network", "service", "node", "task")

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self.state = State(Tables())
        self._forget()

    def _forget(self) -> None:
        self._networks: dict[str, None] = {}
        self._services: dict[str, None] = {}
        self._nodes: dict[str, None] = {}
        self._tasks: dict[str, None] = {}
        self._waiting: dict[str, None] = {}
        self._unsettled: dict[str, None] = {}
        self._errors: dict[str, str] = {}
        self._ingress_changed = False

    def reset(self, view: Tables) -> None:
        """As Loop.reset."""
        self._forget()
        self.state = State(view)
        self._networks = {n.id: None for n in view.networks if not is_allocated(n)}
        self._services = {s.id: None for s in view.services}
        self._nodes = {n.id: None for n in view.nodes}
        self._tasks = {t.id: None for t in view.tasks if t.status.state == NEW}

    def observe(self, events: Sequence[Event]) -> None:
        """As Loop.observe."""
        for event in events:
            obj, removed = event.obj, event.action is Action.REMOVE
            if isinstance(obj, Task):
                self._observe_task(obj, removed)
            elif isinstance(obj, Service):
                self._observe_service(obj, removed)
            elif isinstance(obj, Network):
                self._observe_network(obj, removed)
            elif isinstance(obj, Node):
                self._observe_node(obj, removed)
            elif isinstance(obj, Cluster):
                self._retry()

    def _observe_task(self, task: Task, removed: bool) -> None:
        if removed or task.status.state > RUNNING:
            self._tasks.pop(task.id, None)
            self._waiting.pop(task.id, None)
            if self.state.release(f"task/{task.id}"):
                self._retry()
        elif task.status.state == NEW and task.id not in self._waiting:
            self._tasks[task.id] = None

    def _observe_service(self, service: Service, removed: bool) -> None:
        if removed:
            self._services.pop(service.id, None)
            self._errors.pop(service.id, None)
            self.state.release(f"service/{service.id}")
            self.state.ports.release(service.id)
            self._retry()
        else:
            self._services[service.id] = None
            if self._waiting:
                self._retry()

    def _observe_network(self, network: Network, removed: bool) -> None:
        if removed:
            self._networks.pop(network.id, None)
            self.state.remove_network(network)
        elif not is_allocated(network):
            self._networks[network.id] = None
        if network.spec.ingress:
            self._ingress_changed = True
        self._retry()

    def _observe_node(self, node: Node, removed: bool) -> None:
        if removed:
            self._nodes.pop(node.id, None)
            self.state.release(f"node/{node.id}")
        else:
            self._nodes[node.id] = None

    def _retry(self) -> None:
        """Something was given back or came: try again what waits."""
        self._tasks.update(self._waiting)
        self._waiting.clear()
        # By id it is not known what failed: a look-up in each table is cheap.
        for dirty in (self._networks, self._services, self._nodes):
            dirty.update(dict.fromkeys(self._errors))

    def plan(self, view: Tables, now: float) -> list[Change]:
        """As Loop.plan."""
        if self._ingress_changed:
            self._ingress_changed = False
            self._nodes.update(dict.fromkeys(node.id for node in view.nodes))
            published = (s.id for s in view.services if publishes_ingress(s))
            self._services.update(dict.fromkeys(published))
        changes: list[Change] = []
        self._plan_networks(view, changes)
        self._plan_services(view, changes)
        self._plan_nodes(view, changes)
        self._plan_tasks(view, now, changes)
        return changes

    def _plan_networks(self, view: Tables, changes: list[Change]) -> None:
        dirty = [n for n in map(view.networks.get, self._networks) if n is not None]
        self._networks.clear()
        # Those that name their subnet first: an automatic one moves on, they cannot.
        dirty.sort(key=lambda n: not any(c.subnet for c in n.spec.ipam.configs))
        for network in dirty:
            if needs_addresses(network) and not is_allocated(network):
                allocated = self._try(network.id, allocate_network, self.state, network, view.nodes)
                if allocated is not None:
                    changes.append(Put(allocated))

    def _plan_services(self, view: Tables, changes: list[Change]) -> None:
        for service_id in list(self._services):
            if len(changes) >= self._budget:
                return
            del self._services[service_id]
            service = view.services.get(service_id)
            if service is None:
                continue
            if is_current(service, view):
                self._errors.pop(service_id, None)
                if service_id in self._unsettled:
                    del self._unsettled[service_id]
                    settle_service(self.state, service)
                continue
            allocated = self._try(service_id, allocate_service, self.state, service, view)
            if allocated is not None:
                self._unsettled[service_id] = None
                changes.append(Put(allocated))

    def _plan_nodes(self, view: Tables, changes: list[Change]) -> None:
        ingress = ingress_network(view)
        if ingress is None or ingress.id not in self.state.pools:
            self._nodes.clear()
            return
        for node_id in list(self._nodes):
            if len(changes) >= self._budget:
                return
            del self._nodes[node_id]
            node = view.nodes.get(node_id)
            if node is None or any(a.network_id == ingress.id for a in node.attachments):
                continue
            allocated = self._try(node_id, allocate_node, self.state, node, ingress)
            if allocated is not None:
                changes.append(Put(allocated))

    def _plan_tasks(self, view: Tables, now: float, changes: list[Change]) -> None:
        recipes: dict[tuple[str, int], Recipe] = {}
        for task_id in list(self._tasks):
            if len(changes) >= self._budget:
                return
            del self._tasks[task_id]
            task = view.tasks.get(task_id)
            if task is None or task.status.state != NEW or task.desired_state > RUNNING:
                continue
            key = task.service_id or task.id, task.spec_version.index
            recipe = recipes.get(key)
            if recipe is None:
                recipe = recipes[key] = self._recipe(task, view)
            if recipe.obstacle is None:
                try:
                    allocated = allocate_task(
                        self.state, task, recipe.service, recipe.networks, now
                    )
                except Exception as error:
                    self.state.release(f"task/{task.id}")
                    reason = _line(error, "task", task.id)
                    if any(config.addresses for _, config in recipe.networks):
                        self._wait(task, reason, changes)  # of its own address: others have theirs
                        continue
                    recipe.obstacle = reason
                else:
                    changes.append(Put(allocated))
                    continue
            self._wait(task, recipe.obstacle, changes)

    def _recipe(self, task: Task, view: Tables) -> Recipe:
        service = view.services.get(task.service_id)
        recipe = Recipe(service, task_networks(task, service, view))
        missing = missing_network(recipe.networks)
        if task.service_id and service is None:
            recipe.obstacle = ""
        elif missing is not None:
            recipe.obstacle = f"network {missing} does not exist"
        else:
            recipe.obstacle = self._unallocated(recipe.networks)
        if recipe.obstacle is None and service is not None and not is_current(service, view):
            recipe.obstacle = self._errors.get(service.id, "")
        return recipe

    def _unallocated(self, networks: Wanted) -> str | None:
        """Why one of the networks has no subnet; "" while it is a matter of moments."""
        for network, _ in networks:
            if isinstance(network, str) or not needs_addresses(network):
                continue
            if network.id not in self.state.pools:
                error = self._errors.get(network.id, "")
                return error and f"network {network.spec.annotations.name}: {error}"
        return None

    def _wait(self, task: Task, reason: str, changes: list[Change]) -> None:
        self._waiting[task.id] = None
        if reason and reason != task.status.err:
            waiting = Task()
            waiting.CopyFrom(task)
            waiting.status.err = reason
            changes.append(Put(waiting))

    def _try(self, key: str, allocate: Callable[..., T], *args: object) -> T | None:
        try:
            allocated = allocate(*args)
        except Exception as error:
            self._errors[key] = _line(error, allocate.__name__, key)
            return None
        self._errors.pop(key, None)
        return allocated

    def refused(self, changes: Sequence[Change]) -> None:
        """As Loop.refused."""
        for change in changes:
            obj = change.obj
            if isinstance(obj, Task):
                self.state.release(f"task/{obj.id}")
                self._waiting.pop(obj.id, None)
                self._tasks[obj.id] = None
            elif isinstance(obj, Service):
                self._services[obj.id] = None
            elif isinstance(obj, Node):
                self.state.release(f"node/{obj.id}")
                self._nodes[obj.id] = None
            elif isinstance(obj, Network):
                self.state.remove_network(obj)
                self._networks[obj.id] = None

    def wake_at(self) -> float | None:
        """As Loop.wake_at."""
        dirty = self._networks or self._services or self._nodes or self._tasks
        return 0.0 if dirty else None


def _line(error: Exception, what: str, object_id: str) -> str:
    """What a user reads of an error; one that nobody foresaw is in the log, whole."""
    if isinstance(error, SwarmliteError):
        return str(error)
    log.error("not allocated %s=%s", what, object_id, exc_info=error)
    return "cannot be allocated: internal error; the leader's log has more"
