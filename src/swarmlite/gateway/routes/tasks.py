"""The endpoints of tasks."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from swarmlite.docker import services as docker
from swarmlite.docker.values import Json
from swarmlite.gateway.app import Route
from swarmlite.gateway.rendered import Last, Rendered, array, entries
from swarmlite.gateway.request import Call, encoded
from swarmlite.gateway.swarm import ask, filters, one_of_these, taken
from swarmlite.gateway.swarmlogs import send_logs
from swarmlite.proto.control_pb2 import (
    Filter,
    GetRequest,
    ListRequest,
    ListTasksRequest,
    ListTasksResponse,
    LogSelector,
)
from swarmlite.proto.objects_pb2 import Network, Task

FILTERS = ("_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service")
_rendered, _last = Rendered(), Last()


async def tasks(call: Call) -> web.Response:
    """All that pass the filters."""
    runtimes, rest = taken(filters(call, *FILTERS), "runtime")
    if not one_of_these(runtimes, "container"):
        return call.reply([])
    wanted = [await _resolved(call, one) for one in rest]
    seen, text = _last.seen(None)  # others may ask for other lists meanwhile
    request = ListTasksRequest(filters=wanted, seen=seen)
    tasks, behind = entries(await ask(call.backends.unread("ListTasks"), request))
    tag = ListTasksResponse.FromString(behind).tag
    if tag and tag == seen:
        return call.json_text(text)
    places = [_rendered.text(task, None, lambda task=task: _places(task)) for task in tasks]  # type: ignore[misc]
    # Most lists have tasks of no network, and need not know any.
    networks = await _networks(call) if any(places) else {}
    specs: dict[bytes, Json] = {}
    texts = (
        _json(task, place.decode().split(), networks, specs)
        for task, place in zip(tasks, places, strict=True)
    )
    text = array(texts)
    if tag and not networks:  # which change by themselves
        _last.keep(tag, None, text)
    return call.json_text(text)


def _places(task: bytes) -> bytes:
    """The ids of a task's networks."""
    return " ".join(place.network_id for place in Task.FromString(task).networks).encode()


def _json(
    task: bytes, places: list[str], networks: Mapping[str, Network], specs: dict[bytes, Json]
) -> bytes:
    known = {place: networks[place] for place in places if place in networks}
    also = tuple(network.SerializeToString() for network in known.values())

    def made() -> bytes:
        return encoded(docker.task(Task.FromString(task), known, specs))[:-1]

    return _rendered.text(task, also, made)


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
