"""`swarmlite context show`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session


@click.command("show", cls=Command)
@pass_session
def command(session: Session) -> None:
    """Print the name of the context that commands use."""
    click.echo(session.context)
