"""`swarmlite system prune`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.confirming import confirm, prune_options
from swarmlite.cli.image.prune import prune_images
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.pruning import prune, reclaimed, report
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec


@click.command("prune", cls=Command)
@prune_options
@flag("-a", "--all", help="Remove all unused images not just dangling ones.")
@flag("--volumes", help="Prune anonymous volumes.")
@pass_session
def command(session: Session, filters: Any, force: bool, all: bool, volumes: bool) -> None:
    """Remove unused data of this host."""
    if volumes and any(key == "until" for key, _ in filters):
        raise InvalidSpec('the "until" filter is not supported with "--volumes"')
    confirm(warning(all=all, volumes=volumes, filters=filters), force=force)
    containers = session.containers
    total = report("Deleted Containers:", prune(containers.Prune, filters), space=False)
    report("Deleted Networks:", prune(session.host_networks.Prune, filters), space=False)
    if volumes:
        total += report("Deleted Volumes:", prune(session.volumes.Prune, filters), space=False)
    total += prune_images(session, filters, all=all)
    click.echo(reclaimed(total))


def warning(*, all: bool, volumes: bool, filters: Any) -> str:
    """What will be removed, a line each."""
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if volumes:
        lines.append("all anonymous volumes not used by at least one container")
    lines.append(
        "all images without at least one container associated to them"
        if all
        else "all dangling images"
    )
    text = "This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    if filters:
        text += "\n  Items to be pruned will be filtered with:\n"
        text += "".join(f"  - {key}={value}\n" for key, value in filters)
    return text
