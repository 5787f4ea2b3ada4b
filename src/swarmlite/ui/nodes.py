"""A node's page, and what is done to it: shown as a plan first, and written if nobody else changed
what is asked of the node since.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

from aiohttp import web
from google.protobuf.json_format import MessageToDict

from swarmlite.errors import Conflict, InvalidSpec, SwarmliteError
from swarmlite.model import enums, task_states
from swarmlite.proto.control_pb2 import (
    Filter,
    GetRequest,
    ListTasksRequest,
    RemoveNodeRequest,
    UpdateNodeRequest,
)
from swarmlite.proto.images_pb2 import LocalImage
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import MANAGER, WORKER, NodeRole, NodeStatus
from swarmlite.proto.volumes_pb2 import LocalVolume
from swarmlite.ui import moments
from swarmlite.ui.plots import size
from swarmlite.ui.reaching import Reach
from swarmlite.ui.server import Server
from swarmlite.ui.services import MAX_TASKS, task_row
from swarmlite.ui.signing import Session

AVAILABILITY = {
    "drain": (NodeSpec.DRAIN, "its {live} tasks move to other nodes, and no new ones come"),
    "pause": (NodeSpec.PAUSE, "its {live} tasks stay, and no new ones come"),
    "activate": (NodeSpec.ACTIVE, "it gets new tasks; those that moved away stay where they are"),
}
ROLES = {
    "promote": (MANAGER, "it becomes a manager: it keeps the cluster's state, and votes"),
    "demote": (WORKER, "it is a manager no more, and its copy of the cluster's state goes"),
}
HELD_S = 3.0
MAX_HELD = 500
"""Images, and volumes, of a page."""


class NodePages:
    """Handlers; `request["session"]` is who is signed in."""

    def __init__(self, server: Server) -> None:
        """`server` renders, and has the cluster."""
        self._server, self._cluster = server, server.cluster
        self._reach = Reach(server.cluster, server.tunnels)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Every page."""
        router.add_get("/ui/node/{id}", self.node)
        router.add_post("/ui/node/{id}/plan", self.plan)
        router.add_post("/ui/node/{id}/do", self.do)

    async def _found(self, session: Session, request: web.Request) -> tuple[Node, list[Any]]:
        ref = GetRequest(ref=request.match_info["id"])
        node = await self._cluster.call(session, "GetNode", ref)
        asked = ListTasksRequest(filters=[Filter(key="node", values=[node.id])])
        tasks = (await self._cluster.call(session, "ListTasks", asked)).tasks
        return node, sorted(tasks, key=lambda t: -t.meta.created_version.index)

    async def node(self, request: web.Request) -> web.Response:
        """Its tasks, the images and volumes that it holds, its events, and its description."""
        session: Session = request["session"]
        node, tasks = await self._found(session, request)
        body = MessageToDict(node, preserving_proto_field_name=True)
        manager = node.spec.desired_role == MANAGER
        availability = enums.word(NodeSpec.Availability, node.spec.availability)
        return self._server.page(
            "node.html", session,
            id=node.id,
            name=node.description.hostname or node.id,
            state=enums.word(NodeStatus.State, node.status.state),
            address=node.status.addr,
            role=enums.word(NodeRole, node.role),
            availability=availability,
            leader=node.manager_status.leader,
            warnings=list(node.description.warnings),
            actions=[do for do, (value, _) in AVAILABILITY.items()
                     if value != node.spec.availability]
            + ["demote" if manager else "promote", "remove"],
            tasks=[task_row(task, {}) for task in tasks[:MAX_TASKS]],
            left=max(0, len(tasks) - MAX_TASKS),
            **await self._held(session, node),
            events=self._server.live.events.of(node.id),
            body=json.dumps(body, indent=2),
        )  # fmt: skip

    async def _held(self, session: Session, node: Node) -> dict[str, Any]:
        """Tables of what the node says that it holds; why it says nothing, where it does not."""
        silent = f"it is {enums.word(NodeStatus.State, node.status.state)}"
        if node.status.state == NodeStatus.READY:
            try:
                async with asyncio.timeout(HELD_S):
                    images, volumes = await self._reach.held(session, node.id)
            except SwarmliteError as error:
                silent = str(error)
            except TimeoutError:
                silent = f"it does not answer within {HELD_S:g} s"
            else:
                rows = sorted(_image(image) for image in images), sorted(map(_volume, volumes))
                return {"silent": "", "images": rows[0], "volumes": rows[1], "most": MAX_HELD}
        return {"silent": silent, "images": [], "volumes": [], "most": MAX_HELD}

    async def plan(self, request: web.Request) -> web.Response:
        """What a change would do, with a button that does it."""
        session: Session = request["session"]
        fields = await request.post()
        node, tasks = await self._found(session, request)
        do = str(fields.get("do", ""))
        live = sum(task_states.is_live(task) for task in tasks)
        return self._server.page(
            "plan.html", session, name=node.description.hostname or node.id, what=do,
            lines=_planned(node, do, live),
            fields={"do": do, "version": _version(node)},
            action=f"/ui/node/{node.id}/do", back=f"/ui/node/{node.id}",
        )  # fmt: skip

    async def do(self, request: web.Request) -> web.StreamResponse:
        """Write what was planned. Raises Conflict when the node changed since."""
        session: Session = request["session"]
        fields = await request.post()
        node, _ = await self._found(session, request)
        do = str(fields.get("do", ""))
        _planned(node, do, 0)
        if fields.get("version") != _version(node):
            raise Conflict("somebody else changed this node meanwhile: look at it again")
        if do == "remove":
            await self._cluster.call(session, "RemoveNode", RemoveNodeRequest(ref=node.id))
            return web.Response(status=303, headers={"Location": "/ui/"})
        spec = NodeSpec()
        spec.CopyFrom(node.spec)
        if do in ROLES:
            spec.desired_role = ROLES[do][0]
        else:
            spec.availability = AVAILABILITY[do][0]
        asked = UpdateNodeRequest(node_id=node.id, version=node.meta.version, spec=spec)
        await self._cluster.call(session, "UpdateNode", asked)
        return web.Response(status=303, headers={"Location": f"/ui/node/{node.id}"})


def _image(image: LocalImage) -> tuple[str, ...]:
    names = image.repo_tags or image.repo_digests or [image.id]
    said = size(image.size_bytes), moments.shown(image.created), str(image.containers)
    return ", ".join(names), *said


def _volume(volume: LocalVolume) -> tuple[str, ...]:
    said = volume.driver, moments.shown(volume.created), str(len(volume.used_by))
    return volume.name, *said


def _version(node: Node) -> str:
    """Of what is asked of it: the rest of a node changes by itself."""
    return hashlib.sha256(node.spec.SerializeToString(deterministic=True)).hexdigest()[:16]


def _planned(node: Node, do: str, live: int) -> list[str]:
    """What it means. Raises InvalidSpec for what makes no sense."""
    if do == "remove":
        return [
            "it is taken out of the cluster: its certificate is refused from then on",
            f"its {live} tasks are made again on other nodes",
            "only a worker that is down can be removed",
        ]
    if do in ROLES:
        return [ROLES[do][1]]
    if do in AVAILABILITY:
        return [AVAILABILITY[do][1].format(live=live)]
    raise InvalidSpec("unknown kind of change")
