"""`swarmlite logout`."""

from __future__ import annotations

import click

from swarmlite.cli.image import credentials
from swarmlite.cli.image.login import registry_key
from swarmlite.cli.lazy import Command


@click.command("logout", cls=Command)
@click.argument("server", default="", metavar="[SERVER]")
def command(server: str) -> None:
    """Log out from a registry."""
    registry = registry_key(server)
    if credentials.forget(registry):
        click.echo(f"Removing login credentials for {registry}")
    else:
        click.echo(f"Not logged in to {registry}")
