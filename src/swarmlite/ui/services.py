"""A service's page, and what is done to it: each change is shown as a plan first, and written if
nobody else changed the service's specification since.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from swarmlite.docker.services import service as service_body
from swarmlite.errors import Conflict, InvalidSpec
from swarmlite.model import task_states
from swarmlite.proto.control_pb2 import ListRequest, UpdateServiceRequest
from swarmlite.proto.objects_pb2 import Service, Task
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack.difference import differences
from swarmlite.ui import cluster, moments
from swarmlite.ui.server import Server
from swarmlite.ui.signing import Session

KEPT = ("do", "replicas", "image", "to", "version")
MAX_REPLICAS = 100_000
MAX_TASKS = 200
"""Of a page; the service of a thousand says how many there are more."""


class ServicePages:
    """Handlers; `request["session"]` is who is signed in."""

    def __init__(self, server: Server) -> None:
        """`server` renders, and has the cluster."""
        self._server, self._cluster = server, server.cluster

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Every page."""
        router.add_get("/ui/service/{id}", self.service)
        router.add_post("/ui/service/{id}/plan", self.plan)
        router.add_post("/ui/service/{id}/do", self.do)

    async def service(self, request: web.Request) -> web.Response:
        """Its tasks and their history, its spec and the ones before, its logs, figures, events."""
        session: Session = request["session"]
        found, tasks = await self._cluster.service(session, request.match_info["id"])
        nodes = (await self._cluster.call(session, "ListNodes", ListRequest())).nodes
        names = {node.id: node.description.hostname for node in nodes}
        replicated = found.spec.WhichOneof("mode") == "replicated"
        return self._server.page(
            "service.html", session,
            id=found.id,
            name=found.spec.annotations.name,
            image=found.spec.task.container.image,
            replicas=found.spec.replicated.replicas if replicated else None,
            update=": ".join(filter(None, (
                cluster.update_said(found, tasks), found.update_status.message
            ))),
            spec=json.dumps(service_body(found)["Spec"], indent=2),
            revisions=list(_revisions(found)),
            tasks=[task_row(task, names) for task in tasks[:MAX_TASKS]],
            left=max(0, len(tasks) - MAX_TASKS),
            plots=await self._cluster.plots(session, tasks),
            events=self._server.live.events.of(found.id),
        )  # fmt: skip

    async def plan(self, request: web.Request) -> web.Response:
        """What a change would do, with a button that does it."""
        session: Session = request["session"]
        fields = await request.post()
        found, tasks = await self._cluster.service(session, request.match_info["id"])
        live = sum(task_states.is_live(task) for task in tasks)
        what, lines = _planned(found, fields, live)
        kept = {key: str(fields[key]) for key in KEPT if key in fields}
        kept["version"] = str(found.spec_version.index)
        return self._server.page(
            "plan.html", session, name=found.spec.annotations.name, what=what, lines=lines,
            fields=kept, action=f"/ui/service/{found.id}/do", back=f"/ui/service/{found.id}",
        )  # fmt: skip

    async def do(self, request: web.Request) -> web.StreamResponse:
        """Write what was planned. Raises Conflict when the service changed since."""
        session: Session = request["session"]
        fields = await request.post()
        found, _ = await self._cluster.service(session, request.match_info["id"])
        _planned(found, fields, 0)
        if str(found.spec_version.index) != fields.get("version"):
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
            more = {"rollback": UpdateServiceRequest.PREVIOUS, "rollback_to": _to(fields)}
        await self._cluster.update(session, found, spec, **more)
        return web.Response(status=303, headers={"Location": f"/ui/service/{found.id}"})


def task_row(task: Task, names: dict[str, str]) -> dict[str, str]:
    """A task in a table; `names` are the nodes', by id."""
    return {
        "id": task.id,
        "name": cluster.task_name(task),
        "state": task_states.name(task.status.state),
        "desired": task_states.name(task.desired_state),
        "node": names.get(task.node_id, task.node_id),
        "node_id": task.node_id,
        "image": task.spec.container.image.partition("@")[0],
        "at": moments.shown(task.status.timestamp),
        "message": task.status.err or task.status.message,
    }


def _revisions(found: Service) -> list[dict[str, Any]]:
    """The newest first, each with what it changed of the one before."""
    kept = [(r.spec_version.index, r.spec, moments.shown(r.replaced_at)) for r in found.history]
    kept.append((found.spec_version.index, found.spec, "now"))
    rows: list[dict[str, Any]] = []
    before: ServiceSpec | None = None
    for number, spec, until in kept:
        changes = [] if before is None else [
            str(each) for each in differences(before, spec) if "registry_auth" not in each.path
        ]  # fmt: skip
        rows.append({
            "number": number,
            "image": spec.task.container.image.partition("@")[0],
            "until": until,
            "changes": changes,
        })  # fmt: skip
        before = spec
    return rows[::-1]


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
        lines = [str(each) for each in differences(found.spec, _target(found, _to(fields)))]
        lines = [line for line in lines if "registry_auth" not in line]
        return "roll back", [*(lines or ["nothing differs"]), f"{live} tasks may be replaced"]
    if do == "remove":
        return "remove", [f"the service goes, and {live} tasks end; its volumes stay"]
    raise InvalidSpec("unknown kind of change")


def _target(found: Service, number: int) -> ServiceSpec:
    """The spec that a rollback goes to. Raises InvalidSpec where there is none."""
    if not number and found.HasField("previous_spec"):
        return found.previous_spec
    for revision in found.history:
        if number and revision.spec_version.index == number:
            return revision.spec
    raise InvalidSpec(
        f"this service has no version {number}" if number else "this service has no earlier version"
    )


def _to(fields: Any) -> int:
    return _number("to", str(fields.get("to", "") or "0"), 2**31)


def _replicas(fields: Any) -> int:
    return _number("replicas", str(fields.get("replicas", "")).strip(), MAX_REPLICAS)


def _number(what: str, text: str, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 12 or int(text) > most:
        raise InvalidSpec(f"{what}: expected a number of at most {most}, not {text[:20]}")
    return int(text)
