"""`swarmlite network rm`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.confirming import confirm
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.network.listing import find
from swarmlite.cli.removing import remove_each
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import RemoveRequest

_INGRESS = (
    "Removing the routing-mesh network takes the published ports of every service away, until it"
    " is made again."
)


@click.command("rm", cls=Command)
@flag("-f", "--force", help="Do not error if the network does not exist.")
@click.argument("names", nargs=-1, required=True, metavar="NETWORK...")
@pass_session
def command(session: Session, names: tuple[str, ...], force: bool) -> int:
    """Remove one or more networks."""
    return remove_each(names, lambda ref: _remove(session, ref, force), force=force)


def _remove(session: Session, ref: str, force: bool) -> None:
    found = find(session, ref)
    if found.swarm is None:
        client.call(session.host_networks.Remove, RemoveRequest(ref=found.network.id))
        return
    if found.swarm.spec.ingress:
        confirm(_INGRESS, force=force, what=f"removal of network {ref}")
    client.call(session.control.RemoveNetwork, RemoveRequest(ref=found.swarm.id))
