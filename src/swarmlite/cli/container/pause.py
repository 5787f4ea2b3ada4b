"""`swarmlite container pause` and `swarmlite pause`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.container.each import for_each
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.containers_pb2 import ContainerRef


@click.command("pause", cls=Command)
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_session
def command(session: Session, containers: tuple[str, ...]) -> int:
    """Pause all processes within one or more containers."""
    method = session.containers.Pause
    return for_each(containers, lambda ref: client.call(method, ContainerRef(ref=ref)))
