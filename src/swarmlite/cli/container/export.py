"""`swarmlite container export` and `swarmlite export`."""

from __future__ import annotations

import sys

import click

from swarmlite.cli import client
from swarmlite.cli.container.writing import written
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerRef


@click.command("export", cls=Command)
@click.option("-o", "--output", default="", help="Write to a file, instead of STDOUT.")
@click.argument("container")
@pass_session
def command(session: Session, container: str, output: str) -> None:
    """Export a container's filesystem as a tar archive."""
    if not output and sys.stdout.isatty():
        raise InvalidSpec("cowardly refusing to save to a terminal: use -o FILE or redirect")
    replies = client.stream(session.containers.Export(ContainerRef(ref=container)))
    chunks = (reply.data for reply in replies)
    if output:
        written(output, chunks)
        return
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
