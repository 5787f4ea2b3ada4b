"""`swarmlite dev down`."""

from __future__ import annotations

import click

from swarmlite.cli.dev import cluster
from swarmlite.cli.lazy import Command


@click.command("down", cls=Command)
def command() -> None:
    """End the hosts and remove all that `dev up` made."""
    cluster.module().down()
    click.echo("The hosts are gone.")
