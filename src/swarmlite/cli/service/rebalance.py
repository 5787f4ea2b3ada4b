"""`swarmlite service rebalance`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.service import changing
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import SwarmliteError
from swarmlite.proto.control_pb2 import UpdateServiceRequest


@click.command("rebalance", cls=Command)
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_session
def command(session: Session, services: tuple[str, ...]) -> int:
    """Move tasks of one or more replicated services to nodes that have fewer of them.

    One task at a time, and only as many as stand on nodes with more than their part.

    \b
    Example:
      swarmlite service rebalance web
    """
    status = 0
    for name in services:
        try:
            found = changing.get(session, name)
            request = UpdateServiceRequest(
                service_id=found.id, version=found.meta.version, rebalance=True
            )
            client.call(session.control.UpdateService, request)
        except SwarmliteError as error:
            click.echo(f"{name}: {error}", err=True)
            status = 1
        else:
            click.echo(name)
    return status
