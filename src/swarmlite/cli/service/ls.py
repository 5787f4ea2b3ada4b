"""`swarmlite service ls`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output.listing import Listing, filters_of, list_options
from swarmlite.cli.session import Session, pass_session
from swarmlite.model import service_rows
from swarmlite.model.naturally import naturally
from swarmlite.proto.control_pb2 import ListRequest, ListServicesResponse, ServiceStatus
from swarmlite.proto.objects_pb2 import Service

LISTING = Listing(
    "{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}",
    {
        "ID": "ID",
        "Name": "NAME",
        "Mode": "MODE",
        "Replicas": "REPLICAS",
        "Image": "IMAGE",
        "Ports": "PORTS",
        "Labels": "LABELS",
    },
)


@click.command("ls", cls=Command)
@list_options
@pass_session
def command(session: Session, filters: Any, form: str, quiet: bool) -> None:
    """List services.

    \b
    Examples:
      swarmlite service ls --filter mode=global
      swarmlite service ls --format '{{.Name}}: {{.Replicas}}'
    """
    LISTING.print(rows(session, filters), form, quiet=quiet)


def rows(session: Session, filters: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The rows of the services that pass the filters, by name."""
    request = ListRequest(filters=filters_of(filters))
    reply: ListServicesResponse = client.call(session.control.ListServices, request)
    ordered = sorted(reply.services, key=lambda s: naturally(s.spec.annotations.name))
    return [row(s, reply.status[s.id]) for s in ordered]


def row(service: Service, status: ServiceStatus) -> dict[str, Any]:
    """One service's row."""
    labels = sorted(service.spec.annotations.labels.items())
    return {
        **service_rows.row(service, status),
        "Labels": ",".join(f"{key}={value}" for key, value in labels),
    }
