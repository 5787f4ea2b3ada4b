"""`swarmlite node demote`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.node import changing
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import SwarmliteError
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import WORKER


@click.command("demote", cls=Command)
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@pass_session
def command(session: Session, nodes: tuple[str, ...]) -> int:
    """Demote one or more nodes from manager in the swarm."""
    status = 0
    for ref in nodes:
        try:
            if changing.change(session, ref, _edit):
                click.echo(f"Node {ref} demoted in the swarm.")
            else:
                click.echo(f"Node {ref} is already a worker.")
        except SwarmliteError as error:
            click.echo(str(error), err=True)
            status = 1
    changing.warn_of_managers(session)
    return status


def _edit(spec: NodeSpec) -> bool:
    if spec.desired_role == WORKER:
        return False
    spec.desired_role = WORKER
    return True
