"""`swarmlite container prune`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.confirming import confirm, prune_options
from swarmlite.cli.lazy import Command
from swarmlite.cli.pruning import prune, report
from swarmlite.cli.session import Session, pass_session


@click.command("prune", cls=Command)
@prune_options
@pass_session
def command(session: Session, filters: Any, force: bool) -> None:
    """Remove all stopped containers."""
    confirm("This will remove all stopped containers.", force=force)
    report("Deleted Containers:", prune(session.containers.Prune, filters), space=True)
