"""`swarmlite container top`, and `swarmlite top` of a container."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output import table
from swarmlite.cli.reaching import READ, on_task
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.containers_pb2 import TopRequest, TopResponse

MIN_WIDTH = 20
"""Of Docker's columns here."""


@click.command("top", cls=Command, swallow=True)
@click.argument("container")
@click.argument("ps_args", nargs=-1, type=click.UNPROCESSED, metavar="[PS OPTIONS]")
@pass_session
def command(session: Session, container: str, ps_args: tuple[str, ...]) -> None:
    """Display the running processes of a container, or of a task of the swarm on any node."""
    show(session, container, ps_args)


def show(session: Session, container: str, ps_args: tuple[str, ...]) -> None:
    """Print the table."""

    def ask(there: Session, ref: str) -> TopResponse:
        found: TopResponse = client.call(there.containers.Top, TopRequest(ref=ref, ps_args=ps_args))
        return found

    reply = on_task(session, container, READ, ask)
    rows = [list(reply.titles), *(list(process.fields) for process in reply.processes)]
    click.echo(table.render(rows, min_width=MIN_WIDTH), nl=False)
