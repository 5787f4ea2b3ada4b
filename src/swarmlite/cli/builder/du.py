"""`swarmlite builder du`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output import table
from swarmlite.cli.output.listing import filter_option, filters_of
from swarmlite.cli.session import Session, pass_session
from swarmlite.model import units
from swarmlite.proto.control_pb2 import ListRequest


@click.command("du", cls=Command)
@filter_option
@pass_session
def command(session: Session, filters: Any) -> None:
    """Show the build cache and its size."""
    reply = client.call(session.builds.ListCache, ListRequest(filters=filters_of(filters)))
    header = ["ID", "RECLAIMABLE", "SIZE", "DESCRIPTION"]
    rows = [
        [one.id, str(not one.in_use).lower(), units.format_size(one.size_bytes), one.description]
        for one in reply.entries
    ]
    click.echo(table.render([header, *rows]), nl=False)
    total = sum(one.size_bytes for one in reply.entries)
    click.echo(f"Total:\t{units.format_size(total)}")
