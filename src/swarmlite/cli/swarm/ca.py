"""`swarmlite swarm ca`: refused for now, by name."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.errors import FailedPrecondition


@click.command("ca", cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(args: tuple[str, ...]) -> None:
    """Display and rotate the root CA."""
    raise FailedPrecondition("showing and rotating the root CA is not supported yet")
