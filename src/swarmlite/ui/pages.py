"""The pages, and what they do: each change is shown as a plan first, and written if nobody else
changed the service since.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from google.protobuf.json_format import MessageToDict

from swarmlite.docker.services import task as task_body
from swarmlite.errors import Conflict, InvalidSpec
from swarmlite.model import task_states
from swarmlite.proto.control_pb2 import GetRequest, ListRequest, UpdateServiceRequest
from swarmlite.proto.objects_pb2 import Service
from swarmlite.ui.server import Server
from swarmlite.ui.signing import Session

KEPT = ("do", "replicas", "image", "version")
MAX_REPLICAS = 100_000


class Pages:
    """Handlers; `request["session"]` is who is signed in."""

    def __init__(self, server: Server) -> None:
        """`server` renders, and has the cluster."""
        self._server, self._cluster = server, server.cluster

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Every page."""
        router.add_get("/ui/", self.overview)
        router.add_get("/ui/service/{id}", self.service)
        router.add_get("/ui/node/{id}", self.node)
        router.add_get("/ui/task/{id}", self.task)
        router.add_post("/ui/service/{id}/plan", self.plan)
        router.add_post("/ui/service/{id}/do", self.do)

    async def overview(self, request: web.Request) -> web.Response:
        """The cluster as a picture."""
        session: Session = request["session"]
        view = await self._cluster.overview(session)
        return self._server.page("overview.html", session, view=view, error="")

    async def service(self, request: web.Request) -> web.Response:
        """One service: its tasks and their history, and its spec."""
        session: Session = request["session"]
        found, tasks, spec = await self._cluster.service(session, request.match_info["id"])
        nodes = (await self._cluster.call(session, "ListNodes", ListRequest())).nodes
        names = {node.id: node.description.hostname for node in nodes}
        replicated = found.spec.WhichOneof("mode") == "replicated"
        return self._server.page(
            "service.html",
            session,
            id=found.id,
            name=found.spec.annotations.name,
            image=found.spec.task.container.image,
            replicas=found.spec.replicated.replicas if replicated else None,
            spec=json.dumps(spec, indent=2),
            tasks=[
                {
                    "id": task.id,
                    "name": f"{found.spec.annotations.name}.{task.slot or task.node_id}",
                    "state": task_states.name(task.status.state),
                    "desired": task_states.name(task.desired_state),
                    "node": names.get(task.node_id, task.node_id),
                    "message": task.status.err or task.status.message,
                }
                for task in tasks
            ],
        )

    async def node(self, request: web.Request) -> web.Response:
        """One node, as its description says."""
        session: Session = request["session"]
        found = await self._cluster.call(
            session, "GetNode", GetRequest(ref=request.match_info["id"])
        )
        body = json.dumps(MessageToDict(found, preserving_proto_field_name=True), indent=2)
        lines = list(found.description.warnings)
        name = found.description.hostname or found.id
        return self._server.page("object.html", session, name=name, lines=lines, body=body)

    async def task(self, request: web.Request) -> web.Response:
        """One task, as `inspect` has it."""
        session: Session = request["session"]
        found = await self._cluster.call(
            session, "GetTask", GetRequest(ref=request.match_info["id"])
        )
        lines = [text for text in (found.status.err, found.status.message) if text]
        name = f"{found.service_annotations.name}.{found.slot or found.node_id}"
        body = json.dumps(task_body(found), indent=2)
        return self._server.page("object.html", session, name=name, lines=lines, body=body)

    # changes
    async def plan(self, request: web.Request) -> web.Response:
        """What a change would do, with a button that does it. Nothing is written."""
        session: Session = request["session"]
        fields = await request.post()
        found, tasks, _ = await self._cluster.service(session, request.match_info["id"])
        live = sum(task_states.is_live(task) for task in tasks)
        what, lines = _planned(found, fields, live)
        kept = {key: str(fields[key]) for key in KEPT if key in fields}
        kept["version"] = str(found.meta.version.index)
        return self._server.page(
            "plan.html", session, id=found.id, name=found.spec.annotations.name,
            what=what, lines=lines, fields=kept,
        )  # fmt: skip

    async def do(self, request: web.Request) -> web.StreamResponse:
        """Write what was planned. Raises Conflict when the service changed since."""
        session: Session = request["session"]
        fields = await request.post()
        found, _, _ = await self._cluster.service(session, request.match_info["id"])
        _planned(found, fields, 0)
        if str(found.meta.version.index) != fields.get("version"):
            raise Conflict("somebody else changed this service meanwhile: look at it again")
        if fields["do"] == "remove":
            await self._cluster.remove(session, found.id)
            return web.Response(status=303, headers={"Location": "/ui/"})
        spec = type(found.spec)()
        spec.CopyFrom(found.spec)
        more: dict[str, Any] = {}
        if fields["do"] == "scale":
            spec.replicated.replicas = _replicas(fields)
        elif fields["do"] == "image":
            spec.task.container.image = str(fields["image"]).strip()
        elif fields["do"] == "restart":
            spec.task.force_update += 1
        else:
            more["rollback"] = UpdateServiceRequest.PREVIOUS
        await self._cluster.update(session, found, spec, **more)
        return web.Response(status=303, headers={"Location": f"/ui/service/{found.id}"})


def _planned(found: Service, fields: Any, live: int) -> tuple[str, list[str]]:
    """The name of a change, and what it means. Raises InvalidSpec for one that makes no sense."""
    do = fields.get("do")
    order = "The service's update settings say how many at a time, and in which order."
    if do == "scale":
        if found.spec.WhichOneof("mode") != "replicated":
            raise InvalidSpec("only a replicated service has a number of replicas")
        now, then = found.spec.replicated.replicas, _replicas(fields)
        word = "start" if then > now else "end"
        return "scale", [f"from {now} to {then} replicas: {abs(then - now)} tasks {word}"]
    if do == "image":
        image = str(fields.get("image", "")).strip()
        if not image:
            raise InvalidSpec("an image has to be named")
        return "update image", [
            f"from {found.spec.task.container.image}", f"to {image}",
            f"{live} tasks are replaced. {order}",
        ]  # fmt: skip
    if do == "restart":
        return "restart", [f"{live} tasks are replaced by new ones of the same kind. {order}"]
    if do == "rollback":
        if not found.HasField("previous_spec"):
            raise InvalidSpec("this service has no earlier version")
        image = found.previous_spec.task.container.image
        return "roll back", [f"to the version before, of {image}", f"{live} tasks may be replaced"]
    if do == "remove":
        return "remove", [f"the service goes, and {live} tasks end; its volumes stay"]
    raise InvalidSpec("unknown kind of change")


def _replicas(fields: Any) -> int:
    text = str(fields.get("replicas", "")).strip()
    if not text.isascii() or not text.isdecimal() or int(text) > MAX_REPLICAS:
        raise InvalidSpec(f"replicas: expected a number of at most {MAX_REPLICAS}, not {text[:20]}")
    return int(text)
