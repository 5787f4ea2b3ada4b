"""`swarmlite image rm`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import NotFound, SwarmliteError
from swarmlite.proto.images_pb2 import RemoveImageRequest, RemoveImageResponse


@click.command("rm", cls=Command)
@flag("-f", "--force", help="Force removal of the image.")
@flag("--no-prune", help="Do not delete untagged parents; there are none here.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@pass_session
def command(session: Session, images: tuple[str, ...], force: bool, no_prune: bool) -> int:
    """Remove one or more images."""
    status, engine = 0, session.images
    for ref in images:
        try:
            request = RemoveImageRequest(ref=ref, force=force, no_prune=no_prune)
            reply: RemoveImageResponse = client.call(engine.Remove, request)
        except SwarmliteError as error:
            click.echo(str(error), err=True)
            status = status if force and isinstance(error, NotFound) else 1
            continue
        for name in reply.untagged:
            click.echo(f"Untagged: {name}")
        for digest in reply.deleted:
            click.echo(f"Deleted: {digest}")
    return status
