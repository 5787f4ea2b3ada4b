"""`swarmlite container top` and `swarmlite top`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output import table
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.containers_pb2 import TopRequest, TopResponse

MIN_WIDTH = 20
"""Of Docker's columns here."""


@click.command("top", cls=Command, swallow=True)
@click.argument("container")
@click.argument("ps_args", nargs=-1, type=click.UNPROCESSED, metavar="[PS OPTIONS]")
@pass_session
def command(session: Session, container: str, ps_args: tuple[str, ...]) -> None:
    """Display the running processes of a container."""
    request = TopRequest(ref=container, ps_args=ps_args)
    reply: TopResponse = client.call(session.containers.Top, request)
    rows = [list(reply.titles), *(list(process.fields) for process in reply.processes)]
    click.echo(table.render(rows, min_width=MIN_WIDTH), nl=False)
