"""The endpoints of nodes."""

from __future__ import annotations

from aiohttp import web

from swarmlite.docker import cluster as docker
from swarmlite.docker.reading.node import node_spec
from swarmlite.gateway.app import Route
from swarmlite.gateway.request import Call
from swarmlite.gateway.swarm import ask, filters, version
from swarmlite.proto.control_pb2 import (
    GetRequest,
    ListRequest,
    RemoveNodeRequest,
    UpdateNodeRequest,
)
from swarmlite.proto.objects_pb2 import Cluster

FILTERS = ("id", "label", "membership", "name", "node.label", "role")


async def nodes(call: Call) -> web.Response:
    """All that pass the filters."""
    control = call.backends.control
    found = await ask(control.ListNodes, ListRequest(filters=filters(call, *FILTERS)))
    root = await _trust_root(call)
    return call.reply([docker.node(node, root) for node in found.nodes])


async def inspect(call: Call) -> web.Response:
    """One node, by its id, name or "self"."""
    found = await ask(call.backends.control.GetNode, GetRequest(ref=call.params["ref"]))
    return call.reply(docker.node(found, await _trust_root(call)))


async def update(call: Call) -> web.Response:
    """Labels, availability, role."""
    sent = await call.body()
    request = UpdateNodeRequest(version=version(call, "node"), spec=node_spec(sent))
    found = await ask(call.backends.control.GetNode, GetRequest(ref=call.params["ref"]))
    request.node_id = found.id
    if not sent.has("Allowed"):  # which Docker's clients know nothing of
        request.spec.allowed.extend(found.spec.allowed)
    await ask(call.backends.control.UpdateNode, request)
    return call.empty(200)


async def remove(call: Call) -> web.Response:
    """Take a node out."""
    request = RemoveNodeRequest(ref=call.params["ref"], force=call.flag("force"))
    await ask(call.backends.control.RemoveNode, request)
    return call.empty(200)


async def _trust_root(call: Call) -> bytes:
    found: Cluster = await ask(call.backends.control.GetCluster, GetRequest(ref="default"))
    return found.root_ca.ca_cert


ROUTES: list[Route] = [
    ("GET", "/nodes", nodes),
    ("GET", "/nodes/{ref}", inspect),
    ("DELETE", "/nodes/{ref}", remove),
    ("POST", "/nodes/{ref}/update", update),
]
