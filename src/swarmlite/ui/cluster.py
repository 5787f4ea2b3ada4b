"""What the pages show, asked of the manager of this node as the user who looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from swarmlite import rpc
from swarmlite.errors import SwarmliteError
from swarmlite.model import enums, task_states
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
    notes: list[str] = field(default_factory=list)
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


@dataclass
class Overview:
    """The cluster as a picture."""

    columns: list[Column]
    rows: list[Row]
    stale: bool
    warnings: list[str] = field(default_factory=list)


class Cluster:
    """The manager of this node; calls raise swarmlite's errors."""

    def __init__(self, paths: Paths) -> None:
        """Connects when it is asked."""
        self._channel = rpc.unix_channel(paths.manager_socket)
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
    for task in tasks:
        if task_states.is_live(task):
            of_node[task.node_id].append(tile(task))
    columns = [_column(node, of_node.pop(node.id, [])) for node in nodes.nodes]
    columns.sort(key=lambda column: (column.role != "manager", column.name))
    if waiting := of_node.pop("", []):
        columns.append(Column("", "not placed yet", "pending", "", "", [], waiting))
    rows = [_row(service, services.status[service.id]) for service in services.services]
    return Overview(
        columns, sorted(rows, key=lambda row: row.name), nodes.stale, list(nodes.warnings)
    )


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
    notes = list(node.description.warnings)
    if node.manager_status.leader:
        notes.insert(0, "leader")
    return Column(
        node.id,
        node.description.hostname or node.id,
        enums.word(NodeStatus.State, node.status.state),
        enums.word(NodeRole, node.role),
        enums.word(NodeSpec.Availability, node.spec.availability),
        notes,
        sorted(tiles, key=lambda each: each.name),
    )


def _row(service: Service, status: Any) -> Row:
    spec = service.spec
    update = service.update_status
    said = enums.word(UpdateStatus.State, update.state).replace("_", " ") if update.state else ""
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
        said,
    )
