"""`swarmlite dev boot`."""

from __future__ import annotations

import click

from swarmlite.cli.dev import cluster
from swarmlite.cli.lazy import Command


@click.command("boot", cls=Command)
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@cluster.of_process
def command(hosts: tuple[str, ...], process: str | None) -> None:
    """Power hosts on, or start their daemon (--process daemon)."""
    dev = cluster.module()
    for name in hosts:
        dev.boot(name, process or "")
        click.echo(name)
