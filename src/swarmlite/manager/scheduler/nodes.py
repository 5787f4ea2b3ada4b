"""What each node has left, kept in step with tasks and nodes."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swarmlite.model import generic_resources
from swarmlite.model.generic_resources import Name
from swarmlite.model.task_states import ASSIGNED, FAILED, REJECTED, RUNNING, is_attachment
from swarmlite.model.validate.endpoint import where
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.types_pb2 import GenericResource, PortConfig

from ..store.tables import Tables
from ..times import state_since

FAILURES_TO_AVOID = 5
FAILURE_WINDOW_S = 300.0

Group = tuple[str, int]
"""Tasks that are placed together: a service and a version of its spec."""


HostPort = tuple[int, int, str]
"""A protocol, a number, and the node's address that it is published on, empty for all."""


class Demand:
    """What one task of a group takes from its node; shared by the tasks of the group."""

    __slots__ = ("by_name", "cpus", "generic", "host_ports", "memory", "service_id")

    def __init__(self, task: Task) -> None:
        reserved = task.spec.resources.reservations
        self.service_id = task.service_id
        self.cpus = reserved.nano_cpus
        self.memory = reserved.memory_bytes
        self.generic: Counter[str] = Counter()
        for resource in reserved.generic:
            self.generic[resource.kind] += resource.discrete or 1
        self.by_name = tuple(generic_resources.names(reserved.generic))
        self.host_ports = tuple(
            (port.protocol, port.published_port, where(port))
            for port in task.endpoint.spec.ports
            if port.publish_mode == PortConfig.HOST and port.published_port
        )


class NodeInfo:
    """One node: its object, and what its tasks leave of it."""

    __slots__ = (
        "cpus",
        "failures",
        "generic",
        "host_ports",
        "index",
        "memory",
        "names_taken",
        "node",
        "of_service",
        "total",
    )

    def __init__(self, node: Node, index: int) -> None:
        self.index = index
        self.cpus = self.memory = self.total = 0
        self.generic: Counter[str] = Counter()
        self.names_taken: Counter[Name] = Counter()
        self.of_service: Counter[str] = Counter()
        self.host_ports: Counter[HostPort] = Counter()
        self.failures: defaultdict[Group, deque[float]] = defaultdict(
            lambda: deque(maxlen=FAILURES_TO_AVOID)
        )
        self.node = Node()
        self.replace_node(node)

    def replace_node(self, node: Node) -> None:
        """The node changed: what it has changes with it, what is taken of it stays."""
        before, after = self.node.description.resources, node.description.resources
        self.cpus += after.nano_cpus - before.nano_cpus
        self.memory += after.memory_bytes - before.memory_bytes
        for sign, resources in ((-1, before), (1, after)):
            for resource in resources.generic:
                self.generic[resource.kind] += sign * (resource.discrete or 1)
        self.node = node

    def hold(self, demand: Demand, sign: int) -> None:
        """Take (1) or give back (-1) what a task reserves."""
        self.cpus -= sign * demand.cpus
        self.memory -= sign * demand.memory
        for kind, amount in demand.generic.items():
            self.generic[kind] -= sign * amount
        for port in demand.host_ports:
            self.host_ports[port] += sign
            if not self.host_ports[port]:
                del self.host_ports[port]

    @property
    def free(self) -> float:
        """The part of it that nothing is reserved of, of processors or memory: the smaller one."""
        has = self.node.description.resources
        pairs = ((self.cpus, has.nano_cpus), (self.memory, has.memory_bytes))
        return min((left / whole for left, whole in pairs if whole), default=1.0)

    def lacks(self, names: Iterable[Name]) -> Name | None:
        """The first of the generic resources' names that is not here, or is taken."""
        here = generic_resources.names(self.node.description.resources.generic)
        return next((name for name in names if name not in here or name in self.names_taken), None)

    def choose(self, demand: Demand) -> list[GenericResource]:
        """Which of its generic resources a task gets."""
        if not demand.generic:
            return []
        available = self.node.description.resources.generic
        return generic_resources.choose(available, self.names_taken, demand.generic, demand.by_name)

    def count(self, service_id: str, sign: int) -> None:
        """A task that is desired to run came (1) or went (-1)."""
        self.total += sign
        self.of_service[service_id] += sign
        if not self.of_service[service_id]:
            del self.of_service[service_id]

    def fails(self, group: Group, now: float) -> bool:
        """Whether tasks of this group failed here so often lately that others come first."""
        times = self.failures.get(group)
        if times is None or len(times) < FAILURES_TO_AVOID:
            return False
        if times[0] > now:
            times[0] = now  # a clock stepped back: it counts as now
        return times[0] > now - FAILURE_WINDOW_S


@dataclass(slots=True)
class Held:
    """What one task has of its node."""

    info: NodeInfo
    demand: Demand
    active: bool
    names: Sequence[Name] = ()


class Nodes:
    """Every node's info, and which task holds what."""

    def __init__(self) -> None:
        self.infos: dict[str, NodeInfo] = {}
        self._held: dict[str, Held] = {}
        self._demands: dict[Group, Demand] = {}
        self._next_index = 0

    @classmethod
    def of(cls, view: Tables) -> Nodes:
        """All nodes and tasks of the store."""
        nodes = cls()
        for node in view.nodes:
            nodes.put_node(node)
        for task in view.tasks:
            nodes.put_task(task)
        return nodes

    def put_node(self, node: Node) -> NodeInfo:
        """A node came or changed."""
        info = self.infos.get(node.id)
        if info is None:
            info = self.infos[node.id] = NodeInfo(node, self._next_index)
            self._next_index += 1
        else:
            info.replace_node(node)
        return info

    def remove_node(self, node_id: str) -> None:
        """A node went, with whatever its tasks held."""
        info = self.infos.pop(node_id, None)
        if info is not None:
            self._held = {i: held for i, held in self._held.items() if held.info is not info}

    def demand_of(self, task: Task) -> Demand:
        """What a task takes, worked out once for each group."""
        if not task.service_id:
            return Demand(task)
        group = task.service_id, task.spec_version.index
        demand = self._demands.get(group)
        if demand is None:
            if len(self._demands) > 20_000:
                self._demands.clear()
            demand = self._demands[group] = Demand(task)
        return demand

    def put_task(self, task: Task) -> bool:
        """A task came or changed; answer whether its node has more left than before."""
        if is_attachment(task):
            return False  # a place on a network takes nothing of its node
        held = self._held.get(task.id)
        if not task.node_id or task.status.state > RUNNING:
            return self.remove_task(task.id) if held is not None else False
        active = task.desired_state <= RUNNING
        if held is not None:
            if held.active != active:
                held.info.count(task.service_id, 1 if active else -1)
                held.active = active
            return False
        info = self.infos.get(task.node_id)
        # A task that waits for its node's approval holds nothing yet.
        if info is not None and task.status.state >= ASSIGNED:
            self.hold(task, info, self.demand_of(task), active)
        return False

    def hold(self, task: Task, info: NodeInfo, demand: Demand, active: bool = True) -> None:
        """Note that a task has its place on a node; its counts as one to rank by."""
        info.hold(demand, 1)
        if active:
            info.count(task.service_id, 1)
        names = generic_resources.names(task.assigned_generic_resources)
        info.names_taken.update(names)
        self._held[task.id] = Held(info, demand, active, names)

    def remove_task(self, task_id: str) -> bool:
        """A task ended, or went; answer whether it held anything."""
        held = self._held.pop(task_id, None)
        if held is None:
            return False
        held.info.hold(held.demand, -1)
        for name in held.names:
            held.info.names_taken[name] -= 1
            if not held.info.names_taken[name]:
                del held.info.names_taken[name]
        if held.active:
            held.info.count(held.demand.service_id, -1)
        return True

    def note_failure(self, task: Task) -> None:
        """A task failed on its node: remembered for ranking."""
        info = self.infos.get(task.node_id)
        if info is not None and task.status.state in (FAILED, REJECTED):
            group = task.service_id, task.spec_version.index
            info.failures[group].append(state_since(task))
