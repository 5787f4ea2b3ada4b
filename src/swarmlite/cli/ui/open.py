"""`swarmlite ui open`: a link for a browser, wherever it runs."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session


@click.command("open", cls=Command)
@click.option(
    "--role", type=click.Choice(["admin", "operator", "reader"]), default="admin",
    help="What whoever opens it may do (default admin).",
)  # fmt: skip
@pass_session
def command(session: Session, role: str) -> None:
    """Print a link to the page that signs in once, within five minutes."""
    click.echo(session.request({"op": "ui", "action": "open", "role": role})["link"])
