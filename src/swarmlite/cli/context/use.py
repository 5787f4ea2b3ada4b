"""`swarmlite context use`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.client.contexts import Contexts


@click.command("use", cls=Command)
@click.argument("name", metavar="CONTEXT")
@pass_session
def command(session: Session, name: str) -> None:
    """Set the current context."""
    Contexts().use(name)
    click.echo(name)
    click.echo(f'Current context is now "{name}"', err=True)
    if session.chosen_by:
        click.echo(f"Warning: {session.chosen_by} overrides the current context.", err=True)
