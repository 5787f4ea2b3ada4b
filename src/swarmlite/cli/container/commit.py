"""`swarmlite container commit` and `swarmlite commit`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.images_pb2 import CommitRequest, CommitResponse

_TIMEOUT_S = 24 * 3600.0


@click.command("commit", cls=Command)
@click.option("-a", "--author", default="", help='Author, e.g. "John <john@example.com>".')
@click.option(
    "-c", "--change", "changes", multiple=True, help="Apply a Dockerfile instruction to the image."
)
@click.option("-m", "--message", default="", help="Commit message.")
@flag("-p", "--pause", default=True, help="Pause container during commit.")
@click.argument("container")
@click.argument("reference", default="", metavar="[REPOSITORY[:TAG]]")
@pass_session
def command(
    session: Session,
    container: str,
    reference: str,
    author: str,
    changes: tuple[str, ...],
    message: str,
    pause: bool,
) -> None:
    """Create a new image from a container's changes."""
    request = CommitRequest(
        container=container,
        reference=reference,
        author=author,
        changes=changes,
        message=message,
        no_pause=not pause,
    )
    made: CommitResponse = client.call(session.images.Commit, request, timeout_s=_TIMEOUT_S)
    click.echo(made.id)
