"""`swarmlite network disconnect`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.hostnetworks_pb2 import DisconnectRequest


@click.command("disconnect", cls=Command)
@flag("-f", "--force", help="Force the container to disconnect from a network.")
@click.argument("network")
@click.argument("container")
@pass_session
def command(session: Session, network: str, container: str, force: bool) -> None:
    """Disconnect a container from a network."""
    request = DisconnectRequest(container=container, network=network, force=force)
    client.call(session.host_networks.Disconnect, request)
