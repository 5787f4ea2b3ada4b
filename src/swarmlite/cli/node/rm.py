"""`swarmlite node rm`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.removing import remove_each
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import RemoveNodeRequest


@click.command("rm", cls=Command)
@flag("-f", "--force", help="Force remove a node from the swarm.")
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@pass_session
def command(session: Session, nodes: tuple[str, ...], force: bool) -> int:
    """Remove one or more nodes from the swarm."""
    control = session.control

    def remove(ref: str) -> None:
        client.call(control.RemoveNode, RemoveNodeRequest(ref=ref, force=force))

    return remove_each(nodes, remove)
