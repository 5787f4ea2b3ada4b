"""`swarmlite ui disable`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session


@click.command("disable", cls=Command)
@pass_session
def command(session: Session) -> None:
    """Serve the page no more; whoever is signed in is out."""
    session.request({"op": "ui", "action": "disable"})
