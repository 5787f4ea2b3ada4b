"""`swarmlite context rm`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.removing import remove_each
from swarmlite.client.contexts import Contexts


@click.command("rm", cls=Command)
@flag("-f", "--force", help="Force the removal of a context in use.")
@click.argument("names", nargs=-1, required=True, metavar="CONTEXT...")
def command(names: tuple[str, ...], force: bool) -> int:
    """Remove one or more contexts."""
    contexts = Contexts()
    return remove_each(names, lambda name: contexts.remove(name, force=force), force=force)
