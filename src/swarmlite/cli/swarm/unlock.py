"""`swarmlite swarm unlock`: refused for now, by name."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.errors import FailedPrecondition


@click.command("unlock", cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(args: tuple[str, ...]) -> None:
    """Unlock swarm."""
    raise FailedPrecondition("autolock is not supported yet, so nothing is locked")
