"""`swarmlite volume prune`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.confirming import confirm, prune_options
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.pruning import prune, report
from swarmlite.cli.session import Session, pass_session


@click.command("prune", cls=Command)
@prune_options
@flag("-a", "--all", help="Remove all unused volumes, not just anonymous ones.")
@pass_session
def command(session: Session, filters: Any, force: bool, all: bool) -> None:
    """Remove unused local volumes."""
    which = "local" if all else "anonymous local"
    confirm(f"This will remove {which} volumes not used by at least one container.", force=force)
    wanted = [*filters, ("all", "true")] if all else filters
    report("Deleted Volumes:", prune(session.volumes.Prune, wanted), space=True)
