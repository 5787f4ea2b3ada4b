"""`swarmlite dev ls`."""

from __future__ import annotations

import click

from swarmlite.cli.dev import cluster
from swarmlite.cli.lazy import Command


@click.command("ls", cls=Command)
def command() -> None:
    """List the hosts, with their addresses and whether they are on."""
    for host in cluster.module().cluster().hosts:
        click.echo(f"{host.name:<12} {host.addr:<16} {'on' if host.machine else 'off'}")
