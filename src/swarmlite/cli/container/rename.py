"""`swarmlite container rename` and `swarmlite rename`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.container.flags.policies import container_name
from swarmlite.cli.lazy import Command, parsed
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.containers_pb2 import RenameContainerRequest


@click.command("rename", cls=Command)
@click.argument("container")
@click.argument("name", type=parsed(container_name), metavar="NEW_NAME")
@pass_session
def command(session: Session, container: str, name: str) -> None:
    """Rename a container."""
    client.call(session.containers.Rename, RenameContainerRequest(ref=container, name=name))
