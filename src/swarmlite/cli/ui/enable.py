"""`swarmlite ui enable`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session


@click.command("enable", cls=Command)
@click.option("--addr", default="", metavar="HOST:PORT", help="Where (default 0.0.0.0:2376).")
@pass_session
def command(session: Session, addr: str) -> None:
    """Serve the page on this manager."""
    answer = session.request({"op": "ui", "action": "enable", "addr": addr})
    click.echo(f"The page is served at {answer['addr']}; `swarmlite ui open` prints a link to it.")
