"""`swarmlite ui enable`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session


@click.command("enable", cls=Command)
@click.option("--addr", default="", metavar="HOST:PORT", help="Where (default 0.0.0.0:2376).")
@click.option("--cert", default="", metavar="FILE", help="Another certificate, of the owner's.")
@click.option("--key", default="", metavar="FILE", help="The private key of --cert.")
@pass_session
def command(session: Session, addr: str, cert: str, key: str) -> None:
    """Serve the page on this manager."""
    asked = {"op": "ui", "action": "enable", "addr": addr, "cert": cert, "key": key}
    answer = session.request(asked)
    click.echo(f"The page is served at {answer['addr']}; `swarmlite ui open` prints a link to it.")
