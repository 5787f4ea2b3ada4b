"""The endpoints of tasks."""

from __future__ import annotations

from aiohttp import web

from swarmlite.docker import services as docker
from swarmlite.gateway.app import Route
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
from swarmlite.proto.objects_pb2 import Network

FILTERS = ("_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service")


async def tasks(call: Call) -> web.Response:
    """All that pass the filters."""
    runtimes, rest = taken(filters(call, *FILTERS), "runtime")
    if not one_of_these(runtimes, "container"):
        return call.reply([])
    control = call.backends.control
    request = ListTasksRequest(filters=[await _resolved(call, one) for one in rest])
    found = await ask(control.ListTasks, request)
    networks = await _networks(call)
    return call.reply(docker.tasks(found.tasks, networks))


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
