"""`swarmlite dev up`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.dev import cluster
from swarmlite.cli.lazy import COUNT, Command
from swarmlite.errors import InvalidSpec


@click.command("up", cls=Command)
@click.option("--nodes", type=COUNT, default=3, help="How many hosts (3).")
@click.option("--managers", type=COUNT, default=1, help="How many of them are managers (1).")
@click.option("--registry", is_flag=True, help="Start a registry too, with two ready images.")
def command(nodes: int, managers: int, registry: bool) -> None:
    """Bring hosts up and form a swarm of them."""
    if not 1 <= managers <= nodes:
        raise InvalidSpec("--nodes and --managers: at least one manager, and no more than nodes")
    dev = cluster.module()
    made = dev.up(nodes, managers=managers, registry=registry)
    first = made.hosts[0]
    click.echo(f"{nodes} hosts are up: {', '.join(host.name for host in made.hosts)}")
    variables = " ".join(f"{k}={v}" for k, v in dev.environment(first.name).items())
    click.echo(f"From here:    export {variables}; swarmlite node ls")
    click.echo(f"On a host:    {dev.ROOT}/bin/{first.name} swarmlite node ls")
    if registry:
        _say_images(dev, first)
    click.echo("To break it:  swarmlite dev kill HOST [--process agent]; swarmlite dev boot HOST")
    click.echo("To end them:  swarmlite dev down")


def _say_images(dev: Any, first: Any) -> None:
    address, on_host = dev.registry_address(), f"{dev.ROOT}/bin/{first.name} swarmlite"
    click.echo(f"Images:       {address}/web and {address}/busybox; a first service is")
    click.echo(f"  {on_host} service create --name web --replicas 3 -p 8080:80 {address}/web")
    click.echo(f"  curl http://{first.addr}:8080/")
    click.echo(f"  {on_host} service ps web")
