"""The endpoints of networks: one list of this host's and, on a manager, of the swarm's."""

from __future__ import annotations

import logging

import grpc
from aiohttp import web

from swarmlite.docker import network as shapes
from swarmlite.docker import networkservices, networkstatus
from swarmlite.docker.networkfilters import matcher, prune_matcher
from swarmlite.docker.reading import network as reading
from swarmlite.docker.values import Json
from swarmlite.errors import NotFound
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.fields import networks as fields
from swarmlite.gateway.known_networks import Found, Known
from swarmlite.gateway.request import Call
from swarmlite.model.references import PREDEFINED_NETWORKS
from swarmlite.proto.containers_pb2 import ListContainersRequest, PruneRequest
from swarmlite.proto.control_pb2 import (
    CreateNetworkRequest,
    Filter,
    ListRequest,
    ListTasksRequest,
    RemoveRequest,
)
from swarmlite.proto.hostnetworks_pb2 import ConnectRequest, CreateHostNetworkRequest
from swarmlite.proto.objects_pb2 import Network

log = logging.getLogger(__name__)
COUNTED = 52
"""Since which version a network says how many of its addresses are taken."""
REMOVAL_S = 60.0
"""How long a removal may take: managers wait for tasks of services that are gone."""


async def every(call: Call) -> web.Response:
    """All that pass; since 1.28 without their containers."""
    filters, whole = call.filters(), not call.at_least(28)
    known = await Known.of(call.backends)
    used = await known.used() if any(f.key == "dangling" for f in filters) else frozenset()
    passes = matcher(filters, lambda shown: shown["Id"] in used)
    shown = [found.shown() for found in known.all]
    listed = [each if whole else shapes.listed(each) for each in shown if passes(each)]
    return call.reply(listed, fields=fields.SUMMARY)


async def inspect(call: Call) -> web.Response:
    """One, with the containers of this host on it."""
    verbose = call.strict_flag("verbose")
    found = await _find(call)
    shown = found.shown()
    if found.swarm is not None:
        shown["Containers"] = await _containers(call, found.swarm)
        await _swarm_side(call, found.swarm, shown, verbose=verbose)
    elif found.host is not None and call.at_least(COUNTED):
        places = found.host.containers.values()
        held = [text for place in places for text in (place.ipv4_address, place.ipv6_address)]
        shown["Status"] = networkstatus.status(shown, held)
    return call.reply(shown, fields=fields.NETWORK)


async def _find(call: Call) -> Found:
    known = await Known.of(call.backends)
    return known.find(call.params["id"], call.text("scope"))


async def _containers(call: Call, network: Network) -> Json:
    on_it = [Filter(key="network", values=[network.id])]
    request = ListContainersRequest(filters=on_it)
    found = await call.backends.containers.List(request)
    return shapes.endpoints_of(network.id, found.containers)


async def _swarm_side(call: Call, network: Network, shown: Json, *, verbose: bool) -> None:
    """Who of the swarm is on the network; its services only when asked for (`verbose`)."""
    manager, counted = call.backends.control, call.at_least(COUNTED)
    # Who is to end holds its address until it has.
    wanted = [] if counted else [Filter(key="desired-state", values=["running"])]
    tasks = (await manager.ListTasks(ListTasksRequest(filters=wanted))).tasks
    nodes = (await manager.ListNodes(ListRequest())).nodes
    shown["Peers"] = networkservices.peers(network, nodes, tasks)
    if not verbose and not counted:
        return
    found = (await manager.ListServices(ListRequest())).services
    if verbose:
        shown["Services"] = networkservices.services(network, found, tasks, nodes)
    if counted:
        held = networkstatus.held_in_swarm(network, found, tasks)
        shown["Status"] = networkstatus.status(shown, held)


async def create(call: Call) -> web.Response:
    """A network of the swarm, or of this host."""
    spec = reading.network_spec(await call.body())
    backends, name = call.backends, spec.annotations.name
    if name in PREDEFINED_NETWORKS:
        raise Refused(403, f"operation is not permitted on predefined {name} network")
    (await Known.of(backends)).check_free(name)
    if spec.scope == "swarm":
        made = await backends.control.CreateNetwork(CreateNetworkRequest(spec=spec))
        return call.reply({"Id": made.id, "Warning": ""}, 201)
    try:
        reply = await backends.host_networks.Create(CreateHostNetworkRequest(spec=spec))
    except grpc.aio.AioRpcError as error:
        if " overlaps " not in str(error.details()):
            raise
        # Clients look for these words, and 403.
        why = f"Pool overlaps with other one on this address space: {error.details()}"
        raise Refused(403, why) from error
    return call.reply({"Id": reply.network.id, "Warning": "\n".join(reply.warnings)}, 201)


async def remove(call: Call) -> web.Response:
    """One that nothing is on."""
    found = await _find(call)
    if found.name in PREDEFINED_NETWORKS and found.swarm is None:
        raise Refused(403, f"{found.name} is a pre-defined network and cannot be removed")
    request = RemoveRequest(ref=found.id)
    try:
        if found.swarm is not None:
            await call.backends.control.RemoveNetwork(request, timeout=REMOVAL_S)
        else:
            await call.backends.host_networks.Remove(request)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            raise
        status = 403 if found.swarm is None else 400
        why = f"error while removing network: {error.details()}"
        raise Refused(status, why) from error
    return call.empty()


async def connect(call: Call) -> web.Response:
    """A container on a network."""
    found = await _find(call)
    container, place = reading.connection(await call.body(), found.reference)
    request = ConnectRequest(container=container, endpoint=place)
    try:
        await call.backends.host_networks.Connect(request)
    except grpc.aio.AioRpcError as error:
        raise _forbidden(error) from error
    return call.empty(200)


async def disconnect(call: Call) -> web.Response:
    """And off it; with Force a network that is gone is no error."""
    sent = await call.body()
    try:
        reference = (await _find(call)).reference
    except NotFound:
        if not sent.flag("Force"):
            raise
        reference = call.params["id"]
    try:
        await call.backends.host_networks.Disconnect(reading.disconnection(sent, reference))
    except grpc.aio.AioRpcError as error:
        raise _forbidden(error) from error
    return call.empty(200)


def _forbidden(error: grpc.aio.AioRpcError) -> Exception:
    """Docker answers 403 where a container's networks are against it, and not 409."""
    codes = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ALREADY_EXISTS)
    return Refused(403, str(error.details())) if error.code() in codes else error


async def prune(call: Call) -> web.Response:
    """Those that nothing is on, of this host and of the swarm."""
    filters = call.filters()
    done = await call.backends.host_networks.Prune(PruneRequest(filters=filters))
    gone = [*done.deleted, *await _prune_swarm(call, filters)]
    return call.reply({"NetworksDeleted": gone or None})


async def _prune_swarm(call: Call, filters: list[Filter]) -> list[str]:
    if call.backends.manager is None:
        return []
    known = await Known.of(call.backends)
    used, passes = await known.used(), prune_matcher(filters)
    gone = []
    for found in known.all:
        network = found.swarm
        if network is None or network.spec.ingress or found.id in used or not passes(network):
            continue
        try:
            await call.backends.control.RemoveNetwork(RemoveRequest(ref=found.id))
        except grpc.aio.AioRpcError as error:
            log.info("network is left network=%s error=%s", found.name, error.details())
            continue
        gone.append(found.name)
    return gone


ROUTES: list[Route] = [
    ("GET", "/networks", every),
    ("POST", "/networks/create", create),
    ("POST", "/networks/prune", prune),
    ("GET", "/networks/{id}", inspect),
    ("DELETE", "/networks/{id}", remove),
    ("POST", "/networks/{id}/connect", connect),
    ("POST", "/networks/{id}/disconnect", disconnect),
]
