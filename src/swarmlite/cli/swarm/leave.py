"""`swarmlite swarm leave`."""

from __future__ import annotations

import sys

import click

from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session


@click.command("leave", cls=Command)
@flag("-f", "--force", help="Force this node to leave the swarm, ignoring warnings.")
@pass_session
def command(session: Session, force: bool) -> None:
    """Leave the swarm."""
    session.request(
        {"op": "leave", "force": force},
        progress=lambda line: click.echo(line, file=sys.stderr),
    )
    click.echo("Node left the swarm.")
