"""The networks of this host and, on a manager, those of the swarm: one list, one way of finding."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import click

from swarmlite.cli import client
from swarmlite.cli.output.listing import filters_of
from swarmlite.cli.session import Session
from swarmlite.docker import network as shapes
from swarmlite.docker.networksides import Sides
from swarmlite.docker.values import Json
from swarmlite.errors import FailedPrecondition, NotFound, SwarmliteError, Unavailable
from swarmlite.proto.control_pb2 import GetRequest, ListNetworksResponse, ListRequest
from swarmlite.proto.hostnetworks_pb2 import HostNetwork, ListHostNetworksResponse
from swarmlite.proto.objects_pb2 import Network


class Found(Sides):
    """One network: as the swarm has it, as this host has it, or both."""

    @property
    def scope(self) -> str:
        """swarm or local."""
        return self.network.spec.scope or ("swarm" if self.swarm is not None else "local")

    @property
    def driver(self) -> str:
        """Its driver's name."""
        fallback = "overlay" if self.scope == "swarm" else "bridge"
        return self.network.spec.driver.name or fallback

    def inspect(self) -> Json:
        """In Docker's shape."""
        if self.swarm is not None:
            return shapes.merged(self.swarm, self.host)
        assert self.host is not None
        return shapes.inspect_host(self.host)


def find(session: Session, ref: str) -> Found:
    """The network that `ref` names: of the swarm, then of this host. Raises NotFound."""
    if session.node.managers_only:
        return Found(client.call(session.control.GetNetwork, GetRequest(ref=ref)), None)
    swarm: Network | None = None
    if session.manager is not None:
        with suppress(NotFound):
            swarm = client.call(session.manager.GetNetwork, GetRequest(ref=ref))
    try:
        known = swarm.id if swarm is not None else ref
        host: HostNetwork = client.call(session.host_networks.Inspect, GetRequest(ref=known))
    except SwarmliteError:
        # Of a network of the swarm that this host is not on there is nothing to say here.
        if swarm is None:
            raise
        return Found(swarm, None)
    return Found(swarm, host)


def every(session: Session, filters: Iterable[tuple[str, str]]) -> list[Found]:
    """All of them that pass the filters, the swarm's and the host's."""
    request = ListRequest(filters=filters_of(filters))
    swarm: dict[str, Network] = {}
    if session.manager is not None:
        reply: ListNetworksResponse = client.call(session.manager.ListNetworks, request)
        swarm = {network.id: network for network in reply.networks}
    try:
        local: ListHostNetworksResponse = client.call(session.host_networks.List, request)
    except (Unavailable, FailedPrecondition) as error:  # of a context that leads to managers
        if session.manager is None:
            raise
        click.echo(f"only the swarm's networks are shown: {error}", err=True)
        local = ListHostNetworksResponse()
    hosts = {one.network.id: one for one in local.networks}
    return [Found(swarm.get(key), hosts.get(key)) for key in dict.fromkeys([*swarm, *hosts])]
