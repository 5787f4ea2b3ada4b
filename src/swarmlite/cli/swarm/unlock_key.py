"""`swarmlite swarm unlock-key`: refused for now, by name."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.errors import FailedPrecondition


@click.command("unlock-key", cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(args: tuple[str, ...]) -> None:
    """Manage the unlock key."""
    raise FailedPrecondition("autolock is not supported yet, so there is no unlock key")
