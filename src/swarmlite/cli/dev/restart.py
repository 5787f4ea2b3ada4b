"""`swarmlite dev restart`."""

from __future__ import annotations

import click

from swarmlite.cli.dev import cluster
from swarmlite.cli.lazy import Command


@click.command("restart", cls=Command)
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@cluster.of_process
def command(hosts: tuple[str, ...], process: str | None) -> None:
    """Power hosts off and on, or end a process of theirs and see it started again."""
    dev = cluster.module()
    for name in hosts:
        dev.restart(name, process or "")
        click.echo(name)
