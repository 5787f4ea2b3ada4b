"""`swarmlite container export` and `swarmlite export`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output.archive import refuse_terminal, written_or_printed
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.containers_pb2 import ContainerRef


@click.command("export", cls=Command)
@click.option("-o", "--output", default="", help="Write to a file, instead of STDOUT.")
@click.argument("container")
@pass_session
def command(session: Session, container: str, output: str) -> None:
    """Export a container's filesystem as a tar archive."""
    refuse_terminal(output)
    replies = client.stream(session.containers.Export(ContainerRef(ref=container)))
    written_or_printed(output, (reply.data for reply in replies))
