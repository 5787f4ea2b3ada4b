"""`swarmlite network ls`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.inspect import values
from swarmlite.cli.lazy import Command
from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Listing, filters_of, list_options, no_trunc_option
from swarmlite.cli.output.naturally import naturally
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import ListNetworksResponse, ListRequest
from swarmlite.proto.objects_pb2 import Network

LISTING = Listing(
    "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    {
        "ID": "NETWORK ID",
        "Name": "NAME",
        "Driver": "DRIVER",
        "Scope": "SCOPE",
        "IPv6": "IPV6",
        "Internal": "INTERNAL",
        "Labels": "LABELS",
        "CreatedAt": "CREATED AT",
    },
)


@click.command("ls", cls=Command)
@list_options
@no_trunc_option
@pass_session
def command(session: Session, filters: Any, form: str, quiet: bool, no_trunc: bool) -> None:
    """List networks."""
    request = ListRequest(filters=filters_of(filters))
    reply: ListNetworksResponse = client.call(session.control.ListNetworks, request)
    ordered = sorted(reply.networks, key=lambda n: naturally(n.spec.annotations.name))
    LISTING.print([row(n, no_trunc) for n in ordered], form, quiet=quiet)


def row(network: Network, no_trunc: bool = False) -> dict[str, Any]:
    """One network's row."""
    spec = network.spec
    labels = sorted(spec.annotations.labels.items())
    return {
        "ID": network.id if no_trunc else human.short_id(network.id),
        "Name": spec.annotations.name,
        "Driver": spec.driver.name or "overlay",
        "Scope": spec.scope or "swarm",
        "IPv6": str(spec.ipv6_enabled).lower(),
        "Internal": str(spec.internal).lower(),
        "Labels": ",".join(f"{key}={value}" for key, value in labels),
        "CreatedAt": values.time(network.meta.created_at),
    }
