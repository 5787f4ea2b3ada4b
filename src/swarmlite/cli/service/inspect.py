"""`swarmlite service inspect`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.service import changing
from swarmlite.cli.service.pretty import pretty
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.showing import inspect_each, inspect_options
from swarmlite.docker import services as shapes
from swarmlite.errors import NotFound
from swarmlite.proto.control_pb2 import ListNetworksResponse, ListRequest


@click.command("inspect", cls=Command)
@inspect_options
@flag("--pretty", help="Print the information in a human friendly format.")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_session
def command(session: Session, services: tuple[str, ...], form: str, pretty: bool) -> int:
    """Display detailed information on one or more services.

    \b
    Examples:
      swarmlite service inspect --pretty web
      swarmlite service inspect --format '{{json .Spec.TaskTemplate.Placement}}' web
    """
    if pretty or form == "pretty":
        return _print_pretty(session, services)

    def shape(ref: str) -> dict[str, Any]:
        try:
            return shapes.service(changing.get(session, ref))
        except NotFound as error:
            raise NotFound(f"no such service: {ref}") from error

    return inspect_each(services, shape, form)


def _print_pretty(session: Session, refs: tuple[str, ...]) -> int:
    status = 0
    reply: ListNetworksResponse = client.call(session.control.ListNetworks, ListRequest())
    names = {network.id: network.spec.annotations.name for network in reply.networks}
    for ref in refs:
        try:
            click.echo(pretty(changing.get(session, ref), names))
        except NotFound:
            click.echo(f"no such service: {ref}", err=True)
            status = 1
    return status
