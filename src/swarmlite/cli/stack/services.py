"""`swarmlite stack services`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.output.listing import list_options
from swarmlite.cli.service.ls import LISTING, rows
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.stack import members


@click.command("services", cls=Command)
@list_options
@click.argument("stack")
@pass_session
def command(session: Session, stack: str, filters: Any, form: str, quiet: bool) -> int:
    """List the services in the stack.

    \b
    Example:
      swarmlite stack services shop
    """
    found = rows(session, [members.label(stack), *filters])
    if not found and not filters:
        click.echo(f"Nothing found in stack: {stack}", err=True)
        return 1
    LISTING.print(found, form, quiet=quiet)
    return 0
