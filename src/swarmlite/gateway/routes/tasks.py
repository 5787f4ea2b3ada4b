"""The endpoints of tasks."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from swarmlite.docker import services as docker
from swarmlite.docker.values import Json
from swarmlite.gateway.app import Route
from swarmlite.gateway.rendered import Rendered, array
from swarmlite.gateway.request import Call
from swarmlite.gateway.swarm import ask, filters, one_of_these, taken
from swarmlite.gateway.swarmlogs import send_logs
from swarmlite.proto.control_pb2 import (
    Filter,
    GetRequest,
    ListRequest,
    ListTasksRequest,
    LogSelector,
)
from swarmlite.proto.objects_pb2 import Network, Task

FILTERS = ("_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service")
_rendered = Rendered()


async def tasks(call: Call) -> web.Response:
    """All that pass the filters."""
    runtimes, rest = taken(filters(call, *FILTERS), "runtime")
    if not one_of_these(runtimes, "container"):
        return call.reply([])
    control = call.backends.control
    request = ListTasksRequest(filters=[await _resolved(call, one) for one in rest])
    found = await ask(control.ListTasks, request)
    # Most lists have tasks of no network, and need not know any.
    networks = await _networks(call) if any(task.networks for task in found.tasks) else {}
    specs: dict[bytes, Json] = {}
    return call.json_text(array(_json(task, networks, specs) for task in found.tasks))


def _json(task: Task, networks: Mapping[str, Network], specs: dict[bytes, Json]) -> bytes:
    known = {
        n.network_id: networks[n.network_id] for n in task.networks if n.network_id in networks
    }
    also = tuple(network.SerializeToString() for network in known.values())
    return _rendered.json(task, also, lambda: docker.task(task, known, specs))


async def inspect(call: Call) -> web.Response:
    """One task."""
    found = await ask(call.backends.control.GetTask, GetRequest(ref=call.params["ref"]))
    return call.reply(docker.task(found, await _networks(call)))


async def logs(call: Call) -> web.StreamResponse:
    """Lines of one task."""
    found = await ask(call.backends.control.GetTask, GetRequest(ref=call.params["ref"]))
    return await send_logs(call, LogSelector(task_ids=[found.id]), found.spec.container.tty)


async def _resolved(call: Call, wanted: Filter) -> Filter:
    """The filter in the managers' words: services and nodes by their ids, which must be there."""
    control = call.backends.control
    if wanted.key == "_up-to-date":
        return Filter(key="up-to-date", values=["true"])
    if wanted.key == "service":
        found = [await ask(control.GetService, GetRequest(ref=ref)) for ref in wanted.values]
        return Filter(key="service", values=[service.id for service in found])
    if wanted.key == "node":
        nodes = [await ask(control.GetNode, GetRequest(ref=ref)) for ref in wanted.values]
        return Filter(key="node", values=[node.id for node in nodes])
    return wanted


async def _networks(call: Call) -> dict[str, Network]:
    found = await ask(call.backends.control.ListNetworks, ListRequest())
    return {network.id: network for network in found.networks}


ROUTES: list[Route] = [
    ("GET", "/tasks", tasks),
    ("GET", "/tasks/{ref}", inspect),
    ("GET", "/tasks/{ref}/logs", logs),
]
