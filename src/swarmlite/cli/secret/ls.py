"""`swarmlite secret ls`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Listing, filters_of, list_options
from swarmlite.cli.session import Session, pass_session
from swarmlite.model.naturally import naturally
from swarmlite.proto.control_pb2 import ListRequest, ListSecretsResponse
from swarmlite.proto.objects_pb2 import Secret

LISTING = Listing(
    "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
    {
        "ID": "ID",
        "Name": "NAME",
        "Driver": "DRIVER",
        "CreatedAt": "CREATED",
        "UpdatedAt": "UPDATED",
        "Labels": "LABELS",
    },
)


@click.command("ls", cls=Command)
@list_options
@pass_session
def command(session: Session, filters: Any, form: str, quiet: bool) -> None:
    """List secrets."""
    request = ListRequest(filters=filters_of(filters))
    reply: ListSecretsResponse = client.call(session.control.ListSecrets, request)
    ordered = sorted(reply.secrets, key=lambda item: naturally(item.spec.annotations.name))
    LISTING.print([row(item) for item in ordered], form, quiet=quiet)


def row(item: Secret, now: float | None = None) -> dict[str, Any]:
    """One secret's row."""
    labels = sorted(item.spec.annotations.labels.items())
    return {
        "ID": item.id,
        "Name": item.spec.annotations.name,
        "Driver": item.spec.driver.name,
        "CreatedAt": human.ago(item.meta.created_at, now),
        "UpdatedAt": human.ago(item.meta.updated_at, now),
        "Labels": ",".join(f"{key}={value}" for key, value in labels),
    }
