"""`swarmlite service rollback`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import COUNT, Command, flag
from swarmlite.cli.service import changing
from swarmlite.cli.service.progress import converge
from swarmlite.cli.session import Session, pass_session


@click.command("rollback", cls=Command)
@flag("-d", "--detach", help="Exit immediately instead of waiting for the service to converge.")
@flag("-q", "--quiet", help="Suppress progress output.")
@click.option("--to", type=COUNT, help="Number of a revision, as `service history` shows it.")
@click.argument("service")
@pass_session
def command(session: Session, service: str, detach: bool, quiet: bool, to: int | None) -> None:
    """Revert changes to a service's configuration.

    \b
    Examples:
      swarmlite service rollback web
      swarmlite service rollback --to 3 web
    """
    before = changing.roll_back(session, service, to or 0)
    click.echo(service)
    if not detach:
        converge(session, before.id, quiet=quiet, before=before, rollback=True)
