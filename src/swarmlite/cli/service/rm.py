"""`swarmlite service rm`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.removing import remove_each
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import RemoveRequest


@click.command("rm", cls=Command)
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_session
def command(session: Session, services: tuple[str, ...]) -> int:
    """Remove one or more services.

    \b
    Example:
      swarmlite service rm web api
    """
    control = session.control
    return remove_each(
        services, lambda ref: client.call(control.RemoveService, RemoveRequest(ref=ref))
    )
