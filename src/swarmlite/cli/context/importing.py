"""`swarmlite context import`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from swarmlite.cli.context import archive
from swarmlite.cli.lazy import Command
from swarmlite.client.contexts import Contexts, check_name


@click.command("import", cls=Command)
@click.argument("name", metavar="CONTEXT")
@click.argument("file", metavar="FILE|-")
def command(name: str, file: str) -> None:
    """Import a context from a tar file."""
    limit = archive.MAX_BYTES + 1
    if file == "-":
        data = sys.stdin.buffer.read(limit)
    else:
        with Path(file).open("rb") as source:
            data = source.read(limit)
    Contexts().add(archive.unpacked(data, check_name(name)))
    click.echo(name)
    click.echo(f'Successfully imported context "{name}"', err=True)
