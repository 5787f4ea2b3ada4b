"""What the pages show, asked of the manager of this node as the user who looks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from swarmlite import rpc
from swarmlite.errors import SwarmliteError
from swarmlite.model import enums, task_states
from swarmlite.model.dirty import is_task_dirty
from swarmlite.paths import Paths
from swarmlite.proto.control_pb2 import (
    FiguresRequest,
    Filter,
    GetRequest,
    ListRequest,
    ListTasksRequest,
    LogsRequest,
    RemoveRequest,
    UpdateServiceRequest,
)
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.objects_pb2 import Node, Service, Task, User
from swarmlite.proto.options_pb2 import Role
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeRole, NodeStatus, UpdateStatus
from swarmlite.ui.plots import Plot, plots
from swarmlite.ui.signing import ROLES, Session

CALL_S = 10.0
ACT_AS = "act-as"
MAX_FIGURES = 1000
CHANGING = frozenset({
    UpdateStatus.UPDATING, UpdateStatus.PAUSED,
    UpdateStatus.ROLLBACK_STARTED, UpdateStatus.ROLLBACK_PAUSED,
})  # fmt: skip
PAUSED = {"drain": "drained", "pause": "paused"}


@dataclass
class Tile:
    """A task, as a node's column shows it."""

    id: str
    name: str
    state: str
    message: str


@dataclass
class Column:
    """A node with its tasks."""

    id: str
    name: str
    state: str
    role: str
    availability: str
    leader: bool = False
    warnings: list[str] = field(default_factory=list)
    tiles: list[Tile] = field(default_factory=list)


@dataclass
class Row:
    """A service of the list."""

    id: str
    name: str
    mode: str
    running: int
    desired: int
    image: str
    ports: str
    update: str


@dataclass(frozen=True)
class Count:
    """So many of a kind, and whether that is how it should be."""

    text: str
    well: bool = True


@dataclass
class Overview:
    """The cluster as a picture."""

    columns: list[Column]
    rows: list[Row]
    stale: bool
    warnings: list[str] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)


class Cluster:
    """The manager of this node; calls raise swarmlite's errors."""

    def __init__(self, paths: Paths) -> None:
        """Connects when it is asked."""
        self._channel = rpc.unix_channel(paths.manager_socket, more=rpc.PATIENT)
        self._control = ControlStub(self._channel)

    async def close(self) -> None:
        """End the connection."""
        await self._channel.close()

    async def call(self, session: Session, method: str, request: Any) -> Any:
        """One call as this user."""
        with rpc.translated("the manager"):
            return await getattr(self._control, method)(
                request, timeout=CALL_S, metadata=((ACT_AS, session.role),)
            )

    def watch(self, request: Any) -> Any:
        """Events of objects, for whoever is signed in: none of them is shown, they say when."""
        return self._control.Watch(request, metadata=((ACT_AS, "reader"),))

    async def role_of(self, user_id: str) -> str:
        """What the managers let a user do now; nothing for one who was removed."""
        look = Session("reader", "")
        cluster = await self.call(look, "GetCluster", GetRequest(ref="default"))
        return role_word(cluster.users.get(user_id), datetime.now(UTC))

    def logs(self, session: Session, request: LogsRequest) -> Any:
        """Responses of ServiceLogs, as this user."""
        return self._control.ServiceLogs(request, metadata=((ACT_AS, session.role),))

    def tunnel(self, session: Session) -> Any:
        """A call of TaskTunnel, as this user."""
        return self._control.TaskTunnel(metadata=((ACT_AS, session.role),))

    async def overview(self, session: Session) -> Overview:
        """Nodes with their live tasks, and services."""
        nodes = await self.call(session, "ListNodes", ListRequest())
        tasks = (await self.call(session, "ListTasks", ListTasksRequest())).tasks
        services = await self.call(session, "ListServices", ListRequest())
        return _picture(nodes, tasks, services)

    async def service(self, session: Session, ref: str) -> tuple[Service, list[Task]]:
        """One, and its tasks, the newest first."""
        found = await self.call(session, "GetService", GetRequest(ref=ref))
        filters = [Filter(key="service", values=[found.id])]
        tasks = await self.call(session, "ListTasks", ListTasksRequest(filters=filters))
        newest = sorted(tasks.tasks, key=lambda t: -t.meta.created_version.index)
        return found, newest

    async def plots(self, session: Session, tasks: Iterable[Task]) -> list[Plot]:
        """What these used in the last hour; nothing where the managers do not say."""
        names = {task.id: task_name(task) for task in tasks}
        asked = FiguresRequest(task_ids=list(names)[:MAX_FIGURES])
        try:
            answer = await self.call(session, "GetFigures", asked)
        except SwarmliteError:
            return []
        return plots(answer.tasks, names)

    async def update(self, session: Session, found: Service, spec: Any, **more: Any) -> None:
        """Write a service, if nobody else did since it was looked at."""
        request = UpdateServiceRequest(
            service_id=found.id, version=found.meta.version, spec=spec, **more
        )
        await self.call(session, "UpdateService", request)

    async def remove(self, session: Session, service_id: str) -> None:
        """Remove a service."""
        await self.call(session, "RemoveService", RemoveRequest(ref=service_id))


def role_word(user: User | None, now: datetime) -> str:
    """As sessions have it; nothing for who was removed, and once the certificate has ended."""
    if user is None or user.expires_at.ToDatetime(UTC) < now:
        return ""
    word = enums.word(Role, user.role, "ROLE_")
    return word if word in ROLES else ""


def _picture(nodes: Any, tasks: Any, services: Any) -> Overview:
    of_node: defaultdict[str, list[Tile]] = defaultdict(list)
    of_service: defaultdict[str, list[Task]] = defaultdict(list)
    changing = {each.id for each in services.services if each.update_status.state in CHANGING}
    for task in tasks:
        if task.service_id in changing:
            of_service[task.service_id].append(task)
        if task_states.is_live(task):
            of_node[task.node_id].append(tile(task))
    columns = [_column(node, of_node.pop(node.id, [])) for node in nodes.nodes]
    columns.sort(key=lambda column: (column.role != "manager", column.name))
    rows = [_row(service, services.status[service.id], of_service[service.id])
            for service in services.services]  # fmt: skip
    rows.sort(key=lambda row: row.name)
    counts = _counts(columns, rows)
    if waiting := of_node.pop("", []):
        columns.append(Column("", "not placed yet", "pending", "", "", tiles=waiting))
    return Overview(columns, rows, nodes.stale, list(nodes.warnings), counts)


def _counts(columns: list[Column], rows: list[Row]) -> list[Count]:
    """What a thousand columns do not say at a glance."""
    states = Counter(column.state for column in columns)
    kept = Counter(column.availability for column in columns)
    warned = sum(bool(column.warnings) for column in columns)
    running, desired = sum(row.running for row in rows), sum(row.desired for row in rows)
    return [
        *(Count(_nodes(states[state], state), state == "ready") for state in sorted(states)),
        *(Count(_nodes(kept[word], said)) for word, said in PAUSED.items() if kept[word]),
        *([Count(_nodes(warned, "with warnings"), False)] if warned else []),
        Count(f"{running} of {desired} tasks run", running >= desired),
    ]


def _nodes(number: int, what: str) -> str:
    return f"{number} {'node' if number == 1 else 'nodes'} {what}"


def task_name(task: Task) -> str:
    """As users know it: its service and its place, or the name that it has."""
    if not task.service_annotations.name:
        return task.annotations.name or task.id
    return f"{task.service_annotations.name}.{task.slot or task.node_id}"


def tile(task: Task) -> Tile:
    """What is said of a task at a glance."""
    status = task.status
    return Tile(
        task.id, task_name(task), task_states.name(status.state), status.err or status.message
    )


def _column(node: Node, tiles: list[Tile]) -> Column:
    return Column(
        node.id,
        node.description.hostname or node.id,
        enums.word(NodeStatus.State, node.status.state),
        enums.word(NodeRole, node.role),
        enums.word(NodeSpec.Availability, node.spec.availability),
        node.manager_status.leader,
        list(node.description.warnings),
        sorted(tiles, key=lambda each: each.name),
    )


def update_said(service: Service, tasks: Iterable[Task]) -> str:
    """How its last update goes, or went; nothing without one."""
    state = service.update_status.state
    if not state:
        return ""
    said = enums.word(UpdateStatus.State, state).replace("_", " ")
    if state not in CHANGING:
        return said
    places: dict[object, bool] = {}
    for task in tasks:
        if task.desired_state <= task_states.RUNNING:
            new = task.status.state == task_states.RUNNING and not is_task_dirty(service, task)
            place = task.slot or task.node_id
            places[place] = places.get(place, False) or new
    return f"{said}, {sum(places.values())} of {len(places)}"


def _row(service: Service, status: Any, tasks: Iterable[Task]) -> Row:
    spec = service.spec
    ports = ", ".join(
        f"{port.published_port}→{port.target_port}" for port in service.endpoint.ports
    )
    return Row(
        service.id,
        spec.annotations.name,
        spec.WhichOneof("mode") or "replicated",
        status.running_tasks,
        status.desired_tasks,
        spec.task.container.image.partition("@")[0],
        ports,
        update_said(service, tasks),
    )
