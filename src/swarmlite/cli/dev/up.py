"""`swarmlite dev up`."""

from __future__ import annotations

import click

from swarmlite.cli.dev import cluster
from swarmlite.cli.lazy import COUNT, Command
from swarmlite.errors import InvalidSpec


@click.command("up", cls=Command)
@click.option("--nodes", type=COUNT, default=3, help="How many hosts (3).")
@click.option("--managers", type=COUNT, default=1, help="How many of them are managers (1).")
def command(nodes: int, managers: int) -> None:
    """Bring hosts up and form a swarm of them."""
    if not 1 <= managers <= nodes:
        raise InvalidSpec("--nodes and --managers: at least one manager, and no more than nodes")
    dev = cluster.module()
    made = dev.up(nodes, managers=managers)
    click.echo(f"{nodes} hosts are up: {', '.join(host.name for host in made.hosts)}")
    variables = " ".join(f"{k}={v}" for k, v in dev.environment(made.hosts[0].name).items())
    click.echo(f"From here:    export {variables}; swarmlite node ls")
    click.echo(f"On a host:    {dev.ROOT}/bin/{made.hosts[0].name} swarmlite node ls")
    click.echo("To end them:  swarmlite dev down")
