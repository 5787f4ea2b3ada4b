"""`swarmlite context export`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from swarmlite.cli.context import archive
from swarmlite.cli.lazy import Command
from swarmlite.cli.output.archive import written_or_printed
from swarmlite.client.contexts import Contexts
from swarmlite.errors import AlreadyExists, InvalidSpec
from swarmlite.kernel import durable


@click.command("export", cls=Command)
@click.argument("name", metavar="CONTEXT")
@click.argument("file", required=False, metavar="[FILE|-]")
def command(name: str, file: str | None) -> None:
    """Export a context to a tar archive FILE, or to STDOUT with -. Its key is in it."""
    data = archive.packed(Contexts().get(name))
    if file == "-":
        if sys.stdout.isatty():
            raise InvalidSpec("cowardly refusing to export to a terminal, specify a file path")
        written_or_printed("", [data])
        return
    path = Path(file or f"{name}.dockercontext")
    if path.exists():
        raise AlreadyExists(f"{path} already exists")
    durable.write(path, data)
    click.echo(f'Written file "{path}"', err=True)
