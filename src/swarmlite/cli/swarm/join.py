"""`swarmlite swarm join`."""

from __future__ import annotations

import sys
from typing import Any

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.swarm.values import AVAILABILITY, warn_of_quorum


@click.command("join", cls=Command)
@click.option("--token", required=True, help="Token for entry into the swarm.")
@click.option("--advertise-addr", help="Advertised address (format: <ip|interface>[:port]).")
@click.option("--listen-addr", help="Listen address (0.0.0.0:2377).")
@click.option("--data-path-addr", help="Address or interface to use for data path traffic.")
@click.option("--availability", type=AVAILABILITY, help="Availability of the node.")
@click.argument("remote", metavar="HOST:PORT")
@pass_session
def command(session: Session, /, remote: str, **values: Any) -> None:
    """Join a swarm as a node and/or manager.

    \b
    Example:
      swarmlite swarm join --token SWMTKN-1-... 192.0.2.10:2377
    """
    if ":" not in remote or remote.endswith("]"):
        remote += ":2377"
    given = {key: value for key, value in values.items() if value is not None}
    reply = session.request(
        {"op": "join", "remote": remote, **given},
        progress=lambda line: click.echo(line, file=sys.stderr),
    )
    click.echo(f"This node joined a swarm as a {reply['role']}.")
    if reply["role"] == "manager":
        warn_of_quorum(reply.get("managers", 0))
