"""`swarmlite dev add`."""

from __future__ import annotations

import click

from swarmlite.cli.dev import cluster
from swarmlite.cli.lazy import Command


@click.command("add", cls=Command)
@click.option("--manager", is_flag=True, help="A manager; else a worker.")
def command(manager: bool) -> None:
    """Boot one more host and join it to the swarm; prints its name."""
    click.echo(cluster.module().add("manager" if manager else "worker").name)
