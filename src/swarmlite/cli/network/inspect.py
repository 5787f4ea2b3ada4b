"""`swarmlite network inspect`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.network.listing import find
from swarmlite.cli.network.seen import see
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.showing import inspect_each, inspect_options
from swarmlite.docker import networkservices
from swarmlite.docker.values import Json


@click.command("inspect", cls=Command)
@inspect_options
@flag("-v", "--verbose", help="Verbose output for diagnostics.")
@click.argument("names", nargs=-1, required=True, metavar="NETWORK...")
@pass_session
def command(session: Session, names: tuple[str, ...], form: str, verbose: bool) -> int:
    """Display detailed information on one or more networks."""
    if session.manager is None:
        return inspect_each(names, lambda ref: find(session, ref).inspect(), form)
    seen = see(session)

    def get(ref: str) -> Json:
        found = find(session, ref)
        shown, nodes = found.inspect(), list(seen.nodes.values())
        if found.swarm is not None:
            shown["Peers"] = networkservices.peers(found.swarm, nodes, seen.tasks)
            if verbose:
                shown["Services"] = networkservices.services(
                    found.swarm, seen.services, seen.tasks, nodes
                )
        return shown

    return inspect_each(names, get, form)
