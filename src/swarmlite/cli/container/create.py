"""`swarmlite container create` and `swarmlite create`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.container.creating import create, creating_options
from swarmlite.cli.container.flags.configuration import attach_to, build, run_options
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session


@click.command("create", cls=Command, swallow=True)
@run_options
@creating_options
@click.argument("image")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG...]")
@pass_session
def command(session: Session, /, image: str, args: tuple[str, ...], **values: Any) -> None:
    """Create a new container."""
    config = build(image, args, values)
    attach_to(config, values)
    click.echo(create(session, config, values))
