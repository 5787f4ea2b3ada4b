"""`swarmlite node promote`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.node import changing
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import SwarmliteError
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import MANAGER


@click.command("promote", cls=Command)
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@pass_session
def command(session: Session, nodes: tuple[str, ...]) -> int:
    """Promote one or more nodes to manager in the swarm."""
    status = 0
    for ref in nodes:
        try:
            if changing.change(session, ref, _edit):
                click.echo(f"Node {ref} promoted to a manager in the swarm.")
            else:
                click.echo(f"Node {ref} is already a manager.")
        except SwarmliteError as error:
            click.echo(str(error), err=True)
            status = 1
    changing.warn_of_managers(session)
    return status


def _edit(spec: NodeSpec) -> bool:
    if spec.desired_role == MANAGER:
        return False
    spec.desired_role = MANAGER
    return True
