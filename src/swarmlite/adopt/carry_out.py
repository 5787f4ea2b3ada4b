"""Asking both sides, and making what a plan says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable
from typing import Any
from urllib.parse import quote

from swarmlite.adopt.plan import Here, Json, Plan, There
from swarmlite.adopt.source import Source
from swarmlite.errors import FailedPrecondition, SwarmliteError
from swarmlite.proto.control_pb2 import (
    CreateConfigRequest,
    CreateNetworkRequest,
    CreateSecretRequest,
    CreateServiceRequest,
    GetRequest,
    ListRequest,
    UpdateNodeRequest,
)
from swarmlite.proto.control_pb2_grpc import ControlStub

Call = Callable[[Any, Any], Any]
"""Calls a method of the managers with a request; raises swarmlite's errors."""
Said = Callable[[str], None]


def there(source: Source) -> There:
    """The other swarm. Raises FailedPrecondition when that is no manager of one."""
    place = source.get("/info").get("Swarm") or {}
    if not place.get("ControlAvailable"):
        raise FailedPrecondition(
            f"{source.address} is not a manager of a swarm: name one of its managers"
        )
    networks = source.get("/networks", {"scope": ["swarm"]}) or []
    services = source.get("/services") or []
    return There(
        networks=[*networks, *_unlisted(source, services, {n.get("Id") for n in networks})],
        secrets=source.get("/secrets") or [],
        configs=source.get("/configs") or [],
        services=services,
        nodes=source.get("/nodes") or [],
    )


def _unlisted(source: Source, services: Iterable[Json], listed: Collection[object]) -> list[Json]:
    """Networks that services are on and no list has: Docker's lists leave out host and bridge."""
    named: set[str] = set()
    for service in services:
        spec = service.get("Spec") or {}
        places = (spec.get("TaskTemplate") or {}).get("Networks") or spec.get("Networks") or ()
        named |= {str(place["Target"]) for place in places if place.get("Target")}
    found = []
    for network in sorted(named.difference(map(str, listed))):
        # One that is gone is the service's own error, later.
        with contextlib.suppress(FailedPrecondition):
            found.append(source.get(f"/networks/{quote(network, safe='')}?scope=swarm"))
    return found


def here(control: ControlStub, call: Call) -> Here:
    """This cluster."""
    everything = ListRequest()
    networks = call(control.ListNetworks, everything).networks
    secrets = call(control.ListSecrets, everything).secrets
    configs = call(control.ListConfigs, everything).configs
    services = call(control.ListServices, everything).services
    return Here(
        networks={n.spec.annotations.name for n in networks},
        secrets={s.spec.annotations.name for s in secrets},
        configs={c.spec.annotations.name for c in configs},
        services={s.spec.annotations.name for s in services},
        ports=[(port, s.spec.annotations.name) for s in services for port in s.endpoint.ports],
        nodes=list(call(control.ListNodes, everything).nodes),
    )


def carry_out(wanted: Plan, control: ControlStub, call: Call, said: Said) -> list[str]:
    """Make everything; answers a line for each thing that could not be made.

    One that fails keeps nothing else from being made: done again, only what lacks is left to do.
    """
    failed: list[str] = []

    def attempt(what: str, method: Any, request: Any) -> None:
        try:
            call(method, request)
        except SwarmliteError as error:
            failed.append(f"{what}: {error}")
        else:
            said(what)

    for name, labels in wanted.labels.items():
        node = call(control.GetNode, GetRequest(ref=name))
        request = UpdateNodeRequest(node_id=node.id, version=node.meta.version, spec=node.spec)
        request.spec.annotations.labels.update(labels)
        attempt(f"labels of node {name}", control.UpdateNode, request)
    for network in wanted.networks:
        what = f"network {network.annotations.name}"
        attempt(what, control.CreateNetwork, CreateNetworkRequest(spec=network))
    for secret in wanted.secrets:
        what = f"secret {secret.annotations.name}"
        attempt(what, control.CreateSecret, CreateSecretRequest(spec=secret))
    for config in wanted.configs:
        what = f"config {config.annotations.name}"
        attempt(what, control.CreateConfig, CreateConfigRequest(spec=config))
    for service in wanted.services:
        what = f"service {service.annotations.name}"
        attempt(what, control.CreateService, CreateServiceRequest(spec=service))
    return failed
