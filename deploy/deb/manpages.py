"""Writes a man page for each command: `manpages.py FOLDER`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click_man.core import generate_man_page

from swarmlite import __version__
from swarmlite.cli.root import root


def contexts(ctx: click.Context) -> Iterator[click.Context]:
    """Of a command and of all below it but hidden ones; lazy groups too, unlike click-man's own."""
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            if command is not None and not command.hidden:
                yield from contexts(click.Context(command, info_name=name, parent=ctx))


folder = Path(sys.argv[1])
folder.mkdir(parents=True)
for ctx in contexts(click.Context(root, info_name="swarmlite")):
    page = folder / f"{ctx.command_path.replace(' ', '-')}.1"
    page.write_text(generate_man_page(ctx, __version__))
