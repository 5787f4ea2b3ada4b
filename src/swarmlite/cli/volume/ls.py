"""`swarmlite volume ls`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output.listing import Listing, filters_of, list_options
from swarmlite.cli.session import Session, pass_session
from swarmlite.model.naturally import naturally
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.volumes_pb2 import ListVolumesResponse

LISTING = Listing(
    "{{.Driver}}\t{{.Name}}",
    {
        "Driver": "DRIVER",
        "Name": "VOLUME NAME",
        "Mountpoint": "MOUNTPOINT",
        "Scope": "SCOPE",
        "Labels": "LABELS",
    },
    quiet="{{.Name}}",
)


@click.command("ls", cls=Command)
@list_options
@pass_session
def command(session: Session, filters: Any, form: str, quiet: bool) -> None:
    """List volumes."""
    request = ListRequest(filters=filters_of(filters))
    reply: ListVolumesResponse = client.call(session.volumes.List, request)
    rows = [
        {
            "Driver": v.driver or "local",
            "Name": v.name,
            "Mountpoint": v.mountpoint,
            "Scope": "local",
            "Labels": ",".join(f"{key}={value}" for key, value in sorted(v.labels.items())),
        }
        for v in sorted(reply.volumes, key=lambda v: naturally(v.name))
    ]
    LISTING.print(rows, form, quiet=quiet)
