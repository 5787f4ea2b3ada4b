"""`swarmlite image prune`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.confirming import confirm, prune_options
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output.listing import filters_of
from swarmlite.cli.pruning import TIMEOUT_S, reclaimed
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.images_pb2 import PruneImagesResponse


@click.command("prune", cls=Command)
@prune_options
@flag("-a", "--all", help="Remove all unused images, not just dangling ones.")
@pass_session
def command(session: Session, filters: Any, force: bool, all: bool) -> None:
    """Remove unused images."""
    which = (
        "all images without at least one container associated to them"
        if all
        else "all dangling images"
    )
    confirm(f"This will remove {which}.", force=force)
    click.echo(reclaimed(prune_images(session, filters, all=all)))


def prune_images(session: Session, filters: Iterable[tuple[str, str]], *, all: bool) -> int:
    """Remove images that nothing uses and say which; the bytes that they held."""
    request = ListRequest(filters=filters_of([*filters, ("dangling", "false" if all else "true")]))
    reply: PruneImagesResponse = client.call(session.images.Prune, request, timeout_s=TIMEOUT_S)
    if reply.untagged or reply.deleted:
        click.echo("Deleted Images:")
        for name in reply.untagged:
            click.echo(f"untagged: {name}")
        for name in reply.deleted:
            click.echo(f"deleted: {name}")
        click.echo()
    return reply.reclaimed_bytes
