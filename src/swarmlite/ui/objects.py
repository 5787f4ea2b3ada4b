"""What a cluster has besides nodes and services: stacks, networks, volumes, secrets, configs.

Of secrets and configs nobody is shown data here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web

from swarmlite.errors import NotFound
from swarmlite.model import task_states
from swarmlite.proto.control_pb2 import GetRequest, ListRequest, ListTasksRequest
from swarmlite.proto.objects_pb2 import Service, Task
from swarmlite.proto.types_pb2 import Annotations, Mount
from swarmlite.stack.world import NAMESPACE_LABEL
from swarmlite.ui import cluster, drawing, moments
from swarmlite.ui.server import Server
from swarmlite.ui.signing import Session

MAX_ROWS = 1000


@dataclass(frozen=True)
class Cell:
    """A word of a table, and where it leads."""

    text: str
    href: str = ""


class ObjectPages:
    """Handlers; `request["session"]` is who is signed in."""

    def __init__(self, server: Server) -> None:
        """`server` renders, and has the cluster."""
        self._server, self._cluster = server, server.cluster

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Every page."""
        router.add_get("/ui/stacks", self.stacks)
        router.add_get("/ui/stack/{name}", self.stack)
        router.add_get("/ui/networks", self.networks)
        router.add_get("/ui/network/{id}", self.network)
        router.add_get("/ui/volumes", self.volumes)
        for kind in ("secrets", "configs"):
            router.add_get(f"/ui/{kind}", self.payloads)

    async def _services(self, session: Session) -> list[Service]:
        answer = await self._cluster.call(session, "ListServices", ListRequest())
        return sorted(answer.services, key=lambda each: each.spec.annotations.name)

    async def _tasks(self, session: Session) -> list[Task]:
        answer = await self._cluster.call(session, "ListTasks", ListTasksRequest())
        return [task for task in answer.tasks if task_states.is_live(task)]

    async def _all(self, session: Session, kind: str) -> list[Any]:
        answer = await self._cluster.call(session, f"List{kind}", ListRequest())
        found: Iterable[Any] = getattr(answer, kind.lower())
        return sorted(found, key=lambda each: each.spec.annotations.name)

    def _table(
        self, session: Session, title: str, columns: list[str], rows: list[list[Cell]], **more: Any
    ) -> web.Response:
        said = {"note": "", "picture": None, "stack": "", **more}
        return self._server.page(
            "table.html", session, title=title, columns=columns, rows=rows[:MAX_ROWS],
            left=max(0, len(rows) - MAX_ROWS), **said,
        )  # fmt: skip

    async def stacks(self, request: web.Request) -> web.Response:
        """Those that have anything."""
        session: Session = request["session"]
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for kind in ("Services", "Networks", "Secrets", "Configs"):
            for each in await self._all(session, kind):
                if name := _stack_of(each.spec.annotations):
                    counts[name][kind] += 1
        rows = [
            [Cell(name, stack_path(name)),
             *(Cell(str(count[kind])) for kind in ("Services", "Networks", "Secrets", "Configs"))]
            for name, count in sorted(counts.items())
        ]  # fmt: skip
        columns = ["Stack", "Services", "Networks", "Secrets", "Configs"]
        return self._table(session, "Stacks", columns, rows)

    async def stack(self, request: web.Request) -> web.Response:
        """What belongs to one."""
        session: Session = request["session"]
        name = request.match_info["name"]
        running = Counter(task.service_id for task in await self._tasks(session))
        rows = []
        for kind in ("Services", "Networks", "Secrets", "Configs"):
            for each in await self._all(session, kind):
                if _stack_of(each.spec.annotations) != name:
                    continue
                said = ""
                if kind == "Services":
                    image = each.spec.task.container.image.partition("@")[0]
                    said = f"{image}, {running[each.id]} tasks"
                rows.append([Cell(kind.lower().removesuffix("s")), _link(kind, each), Cell(said)])
        if not rows:
            raise NotFound(f"there is no stack {name}")
        return self._table(session, name, ["Kind", "Name", "Runs"], rows, stack=stack_path(name))

    async def networks(self, request: web.Request) -> web.Response:
        """All, with a picture of which services are on them."""
        session: Session = request["session"]
        networks, services = await self._all(session, "Networks"), await self._services(session)
        tasks = await self._tasks(session)
        on = Counter(place.network_id for task in tasks for place in task.networks)
        rows = [
            [_link("Networks", network), Cell(network.spec.driver.name or "overlay"),
             Cell(", ".join(pool.subnet for pool in network.ipam.configs)),
             Cell(str(on[network.id])), Cell(_stack_of(network.spec.annotations))]
            for network in networks
        ]  # fmt: skip
        columns = ["Network", "Driver", "Subnets", "Tasks", "Stack"]
        picture = drawing.of_networks(networks, services)
        return self._table(session, "Networks", columns, rows, picture=picture)

    async def network(self, request: web.Request) -> web.Response:
        """One: the services on it, drawn, and its tasks with their addresses."""
        session: Session = request["session"]
        ref = GetRequest(ref=request.match_info["id"])
        network = await self._cluster.call(session, "GetNetwork", ref)
        rows, tasks = [], await self._tasks(session)
        for task in sorted(tasks, key=cluster.task_name):
            for place in task.networks:
                if place.network_id == network.id:
                    rows.append([
                        Cell(cluster.task_name(task), f"/ui/task/{task.id}"),
                        Cell(", ".join(place.addresses)),
                        Cell(", ".join(place.aliases)),
                    ])  # fmt: skip
        subnets = ", ".join(pool.subnet for pool in network.ipam.configs)
        return self._table(
            session, network.spec.annotations.name, ["Task", "Addresses", "Aliases"], rows,
            note=f"{network.spec.driver.name or 'overlay'} network, {subnets or 'no subnet'}",
            picture=drawing.of_network(network, await self._services(session), tasks),
        )  # fmt: skip

    async def volumes(self, request: web.Request) -> web.Response:
        """Those that tasks have, by node."""
        session: Session = request["session"]
        nodes = (await self._cluster.call(session, "ListNodes", ListRequest())).nodes
        names = {node.id: node.description.hostname for node in nodes}
        found: dict[tuple[str, str], list[Task]] = {}
        drivers: dict[tuple[str, str], str] = {}
        for task in await self._tasks(session):
            for mount in task.spec.container.mounts:
                if mount.type == Mount.VOLUME and mount.source:
                    place = mount.source, task.node_id
                    found.setdefault(place, []).append(task)
                    drivers[place] = mount.volume_options.driver_config.name or "local"
        rows = [
            [Cell(volume), Cell(names.get(node_id, node_id), f"/ui/node/{node_id}"),
             Cell(drivers[volume, node_id]),
             Cell(", ".join(sorted(cluster.task_name(task) for task in tasks)))]
            for (volume, node_id), tasks in sorted(found.items())
        ]  # fmt: skip
        note = "Those that tasks have now; a node's page has all of that node."
        return self._table(session, "Volumes", ["Volume", "Node", "Driver", "Tasks"], rows,
                           note=note)  # fmt: skip

    async def payloads(self, request: web.Request) -> web.Response:
        """Secrets or configs: names, and who uses them."""
        session: Session = request["session"]
        kind = request.path.rpartition("/")[2]
        users: defaultdict[str, set[str]] = defaultdict(set)
        for service in await self._services(session):
            container = service.spec.task.container
            for secret in container.secrets:
                users[secret.secret_id].add(service.spec.annotations.name)
            for config in container.configs:
                users[config.config_id].add(service.spec.annotations.name)
        rows = [
            [Cell(each.spec.annotations.name), Cell(moments.shown(each.meta.created_at)),
             Cell(", ".join(sorted(users[each.id]))), Cell(_stack_of(each.spec.annotations))]
            for each in await self._all(session, kind.capitalize())
        ]  # fmt: skip
        return self._table(
            session, kind.capitalize(), ["Name", "Created", "Used by", "Stack"], rows,
            note="What they hold is shown nowhere here.",
        )  # fmt: skip


def stack_path(name: str) -> str:
    """Of a stack's page: a label that names it may have any letters."""
    return f"/ui/stack/{quote(name, safe='')}"


def _stack_of(annotations: Annotations) -> str:
    return annotations.labels.get(NAMESPACE_LABEL, "")


def _link(kind: str, each: Any) -> Cell:
    place = {"Services": "service", "Networks": "network"}.get(kind)
    return Cell(each.spec.annotations.name, f"/ui/{place}/{each.id}" if place else "")
