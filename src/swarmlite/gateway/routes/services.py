"""The endpoints of services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from google.protobuf.message import Message

from swarmlite import rpc
from swarmlite.docker import services as docker
from swarmlite.docker.fields import Fields
from swarmlite.docker.reading.kept import carried_over
from swarmlite.docker.reading.service import service_spec
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.pinning import pinned
from swarmlite.gateway.rendered import Last, Rendered, array, entries, with_fields
from swarmlite.gateway.request import Call, encoded
from swarmlite.gateway.swarm import ask, filters, one_of_these, registry_auth, taken, version
from swarmlite.gateway.swarmlogs import send_logs
from swarmlite.model.defaults import update_config
from swarmlite.model.names import free_service_name
from swarmlite.model.references import PREDEFINED_NETWORKS
from swarmlite.proto.control_pb2 import (
    CreateServiceRequest,
    GetRequest,
    ListRequest,
    ListServicesResponse,
    LogSelector,
    RemoveRequest,
    ServiceStatus,
    UpdateServiceRequest,
)
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import ServiceSpec

DEFAULT_UPDATE = docker.update_config(update_config(ServiceSpec()))
FILTERS = ("id", "label", "mode", "name", "runtime")
_rendered, _last = Rendered(), Last()


async def services(call: Call) -> web.Response:
    """All that pass the filters; with the counts of their tasks if `status` asks for them."""
    runtimes, rest = taken(filters(call, *FILTERS), "runtime")
    if not one_of_these(runtimes, "container"):
        return call.reply([])
    counted = call.at_least(41) and call.strict_flag("status")
    seen, text = _last.seen((counted, call.at_least(25)))
    request = ListRequest(filters=rest, seen=seen)
    listed, behind = entries(await ask(call.backends.unread("ListServices"), request))
    found = ListServicesResponse.FromString(behind)
    if found.tag and found.tag == seen:
        return call.json_text(text)
    text = array(_listed(call, service, found.status if counted else {}) for service in listed)
    _last.keep(found.tag, (counted, call.at_least(25)), text)
    return call.json_text(text)


def _listed(call: Call, service: bytes, status: Mapping[str, ServiceStatus]) -> bytes:
    def made() -> bytes:
        return encoded(_shown(call, Service.FromString(service)))[:-1]

    text = _rendered.text(service, call.at_least(25), made)
    [service_id], _ = entries(service)
    counts = status.get(service_id.decode())
    return text if counts is None else with_fields(text, {"ServiceStatus": _counts(counts)})


def _counts(value: ServiceStatus) -> dict[str, int]:
    return {
        "RunningTasks": value.running_tasks,
        "DesiredTasks": value.desired_tasks,
        "CompletedTasks": value.completed_tasks,
    }


def _shown(call: Call, service: Service, *, defaults: bool = False) -> dict[str, Any]:
    value = docker.service(service)
    if not defaults:
        # They are stored; Docker shows what nobody asked for only to who wants defaults.
        for spec in (value["Spec"], value.get("PreviousSpec", {})):
            for key in ("UpdateConfig", "RollbackConfig"):
                if spec.get(key) == DEFAULT_UPDATE:
                    del spec[key]
    if not call.at_least(25):  # where its clients look for them
        for key in ("Spec", "PreviousSpec"):
            networks = value.get(key, {}).get("TaskTemplate", {}).get("Networks")
            if networks:
                value[key]["Networks"] = networks
    return value


async def inspect(call: Call) -> web.Response:
    """One service; with what nobody asked for, if `insertDefaults` wants it."""
    defaults = call.strict_flag("insertDefaults")
    found = await ask(call.backends.control.GetService, GetRequest(ref=call.params["ref"]))
    return call.reply(_shown(call, found, defaults=defaults))


async def create(call: Call) -> web.Response:
    """A new one; answers its id. Who gives it no name has one chosen, as with Docker."""
    spec = service_spec(await call.body(), call.version.minor)
    spec.annotations.name = spec.annotations.name or free_service_name()
    control = call.backends.control
    await _with_networks(call, spec)
    if auth := registry_auth(call):
        spec.task.container.pull_options.registry_auth = auth
    warnings = await pinned(call, spec.task)
    made = await _given(control.CreateService, CreateServiceRequest(spec=spec))
    return call.reply({"ID": made.id, **({"Warnings": warnings} if warnings else {})}, 201)


async def _given(method: Callable[..., Awaitable[Service]], request: Message) -> Service:
    """A spec for the managers: a secret or config that it names and nobody has makes it wrong."""
    try:
        return await ask(method, request)
    except NotFound as error:
        if str(error).startswith(("secret ", "config ")):
            raise InvalidSpec(str(error)) from error
        raise


async def update(call: Call) -> web.Response:
    """A new spec, or the one before."""
    control = call.backends.control
    request = UpdateServiceRequest(version=version(call, "service"))
    rollback = call.text("rollback")
    if rollback not in ("", "none", "previous"):
        raise InvalidSpec(f"unrecognized rollback option {rollback[:40]}")
    sent = await call.body()
    stored = await ask(control.GetService, GetRequest(ref=call.params["ref"]))
    request.service_id = stored.id
    warnings: list[str] = []
    if rollback == "previous":
        request.rollback = UpdateServiceRequest.PREVIOUS
    else:
        request.spec.CopyFrom(await _changed(call, sent, stored))
        warnings = await pinned(call, request.spec.task)
    await _given(control.UpdateService, request)
    return call.reply({"Warnings": warnings or None})


async def _changed(call: Call, sent: Fields, stored: Service) -> ServiceSpec:
    spec = service_spec(sent, call.version.minor)
    await _with_networks(call, spec)
    spec.task.container.pull_options.registry_auth = registry_auth(call) or _known_auth(
        call, stored
    )
    if not spec.task.container.pull_options.ByteSize():
        spec.task.container.ClearField("pull_options")
    return carried_over(sent, spec, stored.spec)


def _known_auth(call: Call, stored: Service) -> str:
    """Who brings no credentials keeps those that the service has, or had before."""
    source = call.text("registryAuthFrom") or "spec"
    if source not in ("spec", "previous-spec"):
        raise InvalidSpec(f"invalid registryAuthFrom '{source[:40]}'")
    if source == "spec":
        return stored.spec.task.container.pull_options.registry_auth
    if not stored.HasField("previous_spec"):
        raise InvalidSpec("service does not have a previous spec")
    return stored.previous_spec.task.container.pull_options.registry_auth


async def _with_networks(call: Call, spec: ServiceSpec) -> None:
    """Networks of each node by their names; a network of this host is refused as Docker does."""
    for network in spec.task.networks:
        if network.target in PREDEFINED_NETWORKS:
            continue
        try:
            found = await ask(call.backends.control.GetNetwork, GetRequest(ref=network.target))
            network.target = found.id
        except NotFound:
            network.target = await _of_host(call, network.target)


async def _of_host(call: Call, ref: str) -> str:
    try:
        with rpc.translated("the engine"):
            found = await call.backends.host_networks.Inspect(GetRequest(ref=ref))
    except NotFound as error:
        raise NotFound(f"network {ref} not found") from error
    name: str = found.network.spec.annotations.name
    if name in PREDEFINED_NETWORKS:
        return name
    raise Refused(
        403,
        f"The network {name} cannot be used with services. Only networks scoped to the swarm can"
        " be used, such as those created with the overlay driver.",
    )


async def remove(call: Call) -> web.Response:
    """Gone at once; its tasks go behind it."""
    control = call.backends.control
    await ask(control.RemoveService, RemoveRequest(ref=call.params["ref"]))
    return call.empty(200)


async def logs(call: Call) -> web.StreamResponse:
    """Lines of all its tasks."""
    found = await ask(call.backends.control.GetService, GetRequest(ref=call.params["ref"]))
    return await send_logs(call, LogSelector(service_ids=[found.id]), found.spec.task.container.tty)


ROUTES: list[Route] = [
    ("GET", "/services", services),
    ("POST", "/services/create", create),
    ("GET", "/services/{ref}", inspect),
    ("DELETE", "/services/{ref}", remove),
    ("POST", "/services/{ref}/update", update),
    ("GET", "/services/{ref}/logs", logs),
]
