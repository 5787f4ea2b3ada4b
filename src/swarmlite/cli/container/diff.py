"""`swarmlite container diff` and `swarmlite diff`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.containers_pb2 import ChangesResponse, ContainerRef

_LETTERS = {
    ChangesResponse.MODIFIED: "C",
    ChangesResponse.ADDED: "A",
    ChangesResponse.DELETED: "D",
}


@click.command("diff", cls=Command)
@click.argument("container")
@pass_session
def command(session: Session, container: str) -> None:
    """Inspect changes to files or directories on a container's filesystem."""
    reply: ChangesResponse = client.call(session.containers.Changes, ContainerRef(ref=container))
    for change in reply.changes:
        click.echo(f"{_LETTERS[change.kind]} {change.path}")
