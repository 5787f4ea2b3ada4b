"""`swarmlite dev kill`."""

from __future__ import annotations

import click

from swarmlite.cli.dev import cluster
from swarmlite.cli.lazy import Command


@click.command("kill", cls=Command)
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@cluster.of_process
def command(hosts: tuple[str, ...], process: str | None) -> None:
    """Cut the power of hosts, or kill a process of theirs."""
    dev = cluster.module()
    for name in hosts:
        dev.kill(name, process or "")
        click.echo(name)
