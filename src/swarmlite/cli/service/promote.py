"""`swarmlite service promote`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.service import changing
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import SwarmliteError
from swarmlite.proto.control_pb2 import UpdateServiceRequest


@click.command("promote", cls=Command)
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_session
def command(session: Session, services: tuple[str, ...]) -> int:
    """Let the update of one or more services go on past its canaries.

    Only `service rollback` takes the new spec back from then on, or a failure.

    \b
    Example:
      swarmlite service update --update-canary 1 --update-canary-promote manual --image web:2 web
      swarmlite service promote web
    """
    status = 0
    for name in services:
        try:
            found = changing.get(session, name)
            request = UpdateServiceRequest(
                service_id=found.id, version=found.meta.version, promote=True
            )
            client.call(session.control.UpdateService, request)
        except SwarmliteError as error:
            click.echo(f"{name}: {error}", err=True)
            status = 1
        else:
            click.echo(name)
    return status
