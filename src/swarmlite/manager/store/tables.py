"""The mirror: every object in memory, with the indexes that the loops and the API need."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import ItemsView, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from swarmlite.proto.objects_pb2 import (
    Cluster,
    Config,
    Network,
    Node,
    Secret,
    Service,
    Task,
    Volume,
)
from swarmlite.proto.types_pb2 import NodeRole, TaskState

if TYPE_CHECKING:
    from .api import Object

T = TypeVar("T", Cluster, Node, Network, Service, Task, Secret, Config, Volume)
NOTHING: Mapping[str, Task] = {}

Place = tuple[str, int | str]
"""What a task fills: its service and a slot, or a node for a global service."""


def place_of(task: Task) -> Place:
    """The place that a task fills; it never changes."""
    return task.service_id, task.slot or task.node_id


def name_of(obj: Object) -> str:
    """The name that a user knows an object by; a node's is its host's."""
    if isinstance(obj, Node):
        return obj.description.hostname
    if isinstance(obj, Task):
        return obj.annotations.name
    return obj.spec.annotations.name


class Table(Generic[T]):
    """Objects of one kind, by id and by name; names are kept without regard to case."""

    def __init__(self) -> None:
        self._objects: dict[str, T] = {}
        self._ids_by_name: defaultdict[str, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(self._objects.values())

    def __contains__(self, object_id: str) -> bool:
        return object_id in self._objects

    def items(self) -> ItemsView[str, T]:
        """Pairs of id and object."""
        return self._objects.items()

    def get(self, object_id: str) -> T | None:
        """The object, or None."""
        return self._objects.get(object_id)

    def named(self, name: str) -> list[T]:
        """Every object of this very name; only hosts' names can repeat."""
        return [obj for obj in self.named_alike(name) if name_of(obj) == name]

    def named_alike(self, name: str) -> list[T]:
        """Every object whose name differs from this one by case at most, as DNS compares."""
        return [self._objects[i] for i in sorted(self._ids_by_name.get(name.lower(), ()))]

    def with_prefix(self, prefix: str) -> list[T]:
        """Every object whose id begins so."""
        return [obj for i, obj in self._objects.items() if i.startswith(prefix)]

    def put(self, obj: T) -> T | None:
        """Keep `obj`; answer what it replaces."""
        old = self.pop(obj.id)
        self._objects[obj.id] = obj
        self._ids_by_name[name_of(obj).lower()].add(obj.id)
        return old

    def pop(self, object_id: str) -> T | None:
        """Forget the object; answer it, or None."""
        old = self._objects.pop(object_id, None)
        if old is not None:
            name = name_of(old).lower()
            self._ids_by_name[name].discard(object_id)
            if not self._ids_by_name[name]:
                del self._ids_by_name[name]
        return old


class NodeTable(Table[Node]):
    """Nodes; the managers among thousands are found without a look at each."""

    def __init__(self) -> None:
        super().__init__()
        self._managers: dict[str, Node] = {}

    def managers(self) -> Sequence[Node]:
        """Those whose role it is now."""
        return list(self._managers.values())

    def put(self, obj: Node) -> Node | None:
        """As Table.put."""
        old = super().put(obj)
        if obj.role == _MANAGER:
            self._managers[obj.id] = obj
        return old

    def pop(self, object_id: str) -> Node | None:
        """As Table.pop."""
        self._managers.pop(object_id, None)
        return super().pop(object_id)


_MANAGER = NodeRole.MANAGER  # an enumeration's own look-up costs more than the comparison

Tally = tuple[TaskState.ValueType, TaskState.ValueType, int]
"""What the tasks of a service are counted by: observed state, desired state, job iteration."""

NO_TALLIES: Mapping[Tally, int] = {}


class TaskTable(Table[Task]):
    """Tasks, also by service, node and place, and counted."""

    def __init__(self) -> None:
        super().__init__()
        self._by_service: defaultdict[str, dict[str, Task]] = defaultdict(dict)
        self._by_node: defaultdict[str, dict[str, Task]] = defaultdict(dict)
        self._by_place: defaultdict[Place, dict[str, Task]] = defaultdict(dict)
        self._tallies: defaultdict[str, Counter[Tally]] = defaultdict(Counter)

    def tallies(self, service_id: str) -> Mapping[Tally, int]:
        """How many tasks a service has of each tally: counting a large service costs nothing."""
        return self._tallies.get(service_id, NO_TALLIES)

    def of_service(self, service_id: str) -> Mapping[str, Task]:
        """The tasks of a service, by id, ended ones included."""
        return self._by_service.get(service_id, NOTHING)

    def of_node(self, node_id: str) -> Mapping[str, Task]:
        """The tasks that were assigned to a node, by id, ended ones included."""
        return self._by_node.get(node_id, NOTHING)

    def of_place(self, place: Place) -> Mapping[str, Task]:
        """The tasks of one slot, or of a global service on one node, by id, ended ones included."""
        return self._by_place.get(place, NOTHING)

    def put(self, obj: Task) -> Task | None:
        """As Table.put."""
        object_id = obj.id
        old = self._objects.get(object_id)
        if old is None:
            super().put(obj)
        else:  # its name, service and slot never change
            self._objects[object_id] = obj
            if old.node_id != obj.node_id:
                self._moved(old)
        self._count(old, obj)
        if service_id := obj.service_id:
            self._by_service[service_id][object_id] = obj
            self._by_place[place_of(obj)][object_id] = obj
        if node_id := obj.node_id:
            self._by_node[node_id][object_id] = obj
        return old

    def pop(self, object_id: str) -> Task | None:
        """As Table.pop."""
        old = super().pop(object_id)
        if old is not None:
            self._count(old, None)
            _forget(self._by_service, old.service_id, object_id)
            self._moved(old)
        return old

    def _moved(self, old: Task) -> None:
        """It is no more where it was: a global service's place is the node."""
        _forget(self._by_node, old.node_id, old.id)
        _forget(self._by_place, place_of(old), old.id)

    def _count(self, old: Task | None, new: Task | None) -> None:
        """In the place of `old` there is `new`, of the same service."""
        before = None if old is None else tally_of(old)
        after = None if new is None else tally_of(new)
        task = new or old
        if before == after or task is None:
            return
        counts = self._tallies[task.service_id]
        if after is not None:
            counts[after] += 1
        if before is not None:
            counts[before] -= 1
            if not counts[before]:
                del counts[before]
                if not counts:
                    del self._tallies[task.service_id]


def tally_of(task: Task) -> Tally:
    """What a task counts as."""
    return task.status.state, task.desired_state, task.job_iteration.index


K = TypeVar("K")


def _forget(index: dict[K, dict[str, Task]], key: K, task_id: str) -> None:
    tasks = index.get(key)
    if tasks is not None:
        tasks.pop(task_id, None)
        if not tasks:
            del index[key]


class Tables:
    """Every object of the cluster as of `revision`."""

    def __init__(self) -> None:
        self.revision = 0
        self.clusters: Table[Cluster] = Table()
        self.nodes = NodeTable()
        self.networks: Table[Network] = Table()
        self.services: Table[Service] = Table()
        self.tasks = TaskTable()
        self.secrets: Table[Secret] = Table()
        self.configs: Table[Config] = Table()
        self.volumes: Table[Volume] = Table()
        self.guards: dict[str, int] = {}
        """The revision of the last write under each guard (api.Guard)."""

    def table(self, kind: str) -> Table:  # type: ignore[type-arg]  # the kind is known at run time only
        """The table of a kind, "task" for tasks."""
        table: Table = getattr(self, f"{kind}s")  # type: ignore[type-arg]
        return table

    @property
    def cluster(self) -> Cluster | None:
        """The one cluster object, or None before `swarm init`."""
        return next(iter(self.clusters), None)
