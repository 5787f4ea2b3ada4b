"""`swarmlite service inspect`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.service import changing
from swarmlite.cli.service.pretty import pretty as for_people
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.showing import inspect_each, inspect_options, is_pretty, pretty_each
from swarmlite.docker import services as shapes
from swarmlite.errors import NotFound
from swarmlite.proto.control_pb2 import ListNetworksResponse, ListRequest
from swarmlite.proto.objects_pb2 import Service


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

    def get(ref: str) -> Service:
        try:
            return changing.get(session, ref)
        except NotFound as error:
            raise NotFound(f"no such service: {ref}") from error

    if is_pretty(pretty, form):
        reply: ListNetworksResponse = client.call(session.control.ListNetworks, ListRequest())
        names = {network.id: network.spec.annotations.name for network in reply.networks}
        return pretty_each(services, lambda ref: for_people(get(ref), names))
    return inspect_each(services, lambda ref: shapes.service(get(ref)), form)
