"""`swarmlite service stop`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.service.stopping import set_stopped
from swarmlite.cli.session import Session, pass_session


@click.command("stop", cls=Command)
@flag("-d", "--detach", help="Exit immediately instead of waiting for the service to converge.")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@pass_session
def command(session: Session, services: tuple[str, ...], detach: bool) -> int:
    """End the tasks of one or more services, and keep all else of them.

    \b
    Examples:
      swarmlite service stop web
      swarmlite service start web
    """
    return set_stopped(session, services, True, wait=not detach)
