"""The cluster as the tables of `swarmlite top` show it. Pure.

A row's key is the object's id. Cells are text; what is not known is "--".
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from swarmlite.cli.dashboard.rates import Readings, Usage, total
from swarmlite.cli.node.ls import row as node_row
from swarmlite.cli.output import human
from swarmlite.cli.service.ls import row as service_row
from swarmlite.model import task_states, units
from swarmlite.model.naturally import naturally
from swarmlite.proto.control_pb2 import REMOVE, ServiceStatus, WatchResponse
from swarmlite.proto.objects_pb2 import Node, Service, Task
from swarmlite.proto.types_pb2 import UpdateStatus

UNKNOWN = "--"
USED = ("CPU", "MEMORY", "RECEIVED/S", "SENT/S")
COLUMNS = {
    "nodes": ("NODE", "STATUS", "AVAILABILITY", "MANAGER", "TASKS", *USED),
    "services": ("SERVICE", "MODE", "REPLICAS", "IMAGE", *USED, "UPDATE"),
    "tasks": ("TASK", "NODE", "STATE", *USED, "ERROR"),
}
ORDERS = ("name", "cpu", "memory", "network")


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    key: str
    cells: tuple[str, ...]
    name: str
    usage: Usage | None = None


@dataclass
class Picture:
    """What was told last of every object, by id."""

    nodes: dict[str, Node] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    status: dict[str, ServiceStatus] = field(default_factory=dict)
    readings: Readings = field(default_factory=Readings)
    now: Callable[[], float] = time.monotonic
    """The clock of `readings`."""
    troubles: dict[str, str] = field(default_factory=dict)
    """By node, and of "managers": why something is not told."""

    def replace(
        self, nodes: Iterable[Node], services: Iterable[Service], tasks: Iterable[Task]
    ) -> None:
        """All there is, as a new watch begins with."""
        self.nodes = {each.id: each for each in nodes}
        self.services = {each.id: each for each in services}
        self.tasks = {each.id: each for each in tasks}
        self.readings.keep(self.tasks)

    def apply(self, event: WatchResponse.Event) -> None:
        """One change."""
        kind = event.WhichOneof("object")
        if kind not in ("node", "service", "task"):
            return
        table: dict[str, Any] = getattr(self, f"{kind}s")
        found = getattr(event, kind)
        if event.action == REMOVE:
            table.pop(found.id, None)
        else:
            table[found.id] = found

    def live(self) -> list[Task]:
        """The tasks that run or are to run; not those of plain containers."""
        shown = [t for t in self.tasks.values() if t.service_id and task_states.is_live(t)]
        return sorted(shown, key=lambda task: (naturally(task_name(task)), task.id))

    def rows(self, table: str, order: str = "name", only: str = "") -> list[Row]:
        """A table's; `only` is the id of a node or service whose tasks are meant."""
        made = {"nodes": self._nodes, "services": self._services, "tasks": self._tasks}[table](only)
        made.sort(key=lambda row: (naturally(row.name), row.key))
        if order != "name":
            made.sort(key=lambda row: _much(row.usage, order), reverse=True)
        return made

    def _used(self, tasks: Iterable[Task]) -> Usage | None:
        now = self.now()
        return total(self.readings.of(task.id, now) for task in tasks)

    def _by(self, key: Callable[[Task], str]) -> defaultdict[str, list[Task]]:
        found: defaultdict[str, list[Task]] = defaultdict(list)
        for task in self.live():
            found[key(task)].append(task)
        return found

    def _nodes(self, only: str) -> list[Row]:
        of_node = self._by(lambda task: task.node_id)
        made = []
        for node in self.nodes.values():
            shown, tasks = node_row(node, ""), of_node[node.id]
            running = sum(task.status.state == task_states.RUNNING for task in tasks)
            usage = self._used(tasks)
            has = node.description.resources
            cells = (
                shown["Hostname"] or node.id,
                shown["Status"],
                shown["Availability"],
                shown["ManagerStatus"],
                str(running),
                *_cells(usage, has.nano_cpus, has.memory_bytes),
            )
            made.append(Row(node.id, cells, cells[0], usage))
        return made

    def _services(self, only: str) -> list[Row]:
        of_service = self._by(lambda task: task.service_id)
        made = []
        for service in self.services.values():
            shown = service_row(service, self.status.get(service.id, ServiceStatus()))
            usage = self._used(of_service[service.id])
            cells = (shown["Name"], shown["Mode"], shown["Replicas"], shown["Image"])
            made.append(
                Row(service.id, (*cells, *_cells(usage), _update(service)), cells[0], usage)
            )
        return made

    def _tasks(self, only: str) -> list[Row]:
        made = []
        for task in self.live():
            if only and only not in (task.node_id, task.service_id):
                continue
            node, usage = self.nodes.get(task.node_id), self._used([task])
            since = human.ago(task.status.timestamp, time.time()).lower()
            cells = (
                task_name(task),
                node.description.hostname if node else task.node_id,
                f"{task_states.title(task.status.state)} {since}",
                *_cells(usage, 0, _memory_limit(task)),
                " ".join(task.status.err.split()),
            )
            made.append(Row(task.id, cells, cells[0], usage))
        return made


def task_name(task: Task) -> str:
    """SERVICE.SLOT, or SERVICE.NODE of a global one's."""
    return f"{task.service_annotations.name}.{task.slot or task.node_id}"


def _memory_limit(task: Task) -> int:
    return task.spec.resources.limits.memory_bytes


def _update(service: Service) -> str:
    state = service.update_status.state
    if not state:
        return ""
    return UpdateStatus.State.Name(state).lower().replace("_", " ")


def _much(usage: Usage | None, order: str) -> float:
    if usage is None:
        return -1.0
    return {
        "cpu": usage.cpu_percent,
        "memory": usage.memory_bytes,
        "network": usage.received_bytes_s + usage.sent_bytes_s,
    }[order]


def _cells(usage: Usage | None, of_nano_cpus: int = 0, of_bytes: int = 0) -> tuple[str, ...]:
    """The columns USED; behind CPU and memory how much there is, where that is known."""
    cpus = f" of {of_nano_cpus / 1e7:.0f}%" if of_nano_cpus else ""
    memory = f" / {units.format_bytes(of_bytes)}" if of_bytes else ""
    if usage is None:
        return (UNKNOWN + cpus, UNKNOWN + memory, UNKNOWN, UNKNOWN)
    return (
        f"{usage.cpu_percent:.1f}%{cpus}",
        f"{units.format_bytes(usage.memory_bytes)}{memory}",
        units.format_size(int(usage.received_bytes_s)),
        units.format_size(int(usage.sent_bytes_s)),
    )
