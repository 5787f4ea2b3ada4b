"""`swarmlite user rm`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.removing import remove_each
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import RemoveRequest


@click.command("rm", cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="USER...")
@pass_session
def command(session: Session, names: tuple[str, ...]) -> int:
    """Remove one or more users: their certificates are refused from then on."""
    control = session.control
    return remove_each(names, lambda ref: client.call(control.RemoveUser, RemoveRequest(ref=ref)))
