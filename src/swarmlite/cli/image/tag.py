"""`swarmlite image tag` and `swarmlite tag`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, parsed
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.model.references import Reference
from swarmlite.proto.images_pb2 import TagImageRequest


def _target(text: str) -> str:
    if Reference.parse(text).digest:
        raise InvalidSpec("a tag has no digest: expected NAME[:TAG]")
    return text


@click.command("tag", cls=Command)
@click.argument("source", metavar="SOURCE_IMAGE[:TAG]")
@click.argument("target", type=parsed(_target), metavar="TARGET_IMAGE[:TAG]")
@pass_session
def command(session: Session, source: str, target: str) -> None:
    """Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE."""
    client.call(session.images.Tag, TagImageRequest(ref=source, target=target))
