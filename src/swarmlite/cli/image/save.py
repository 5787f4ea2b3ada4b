"""`swarmlite image save` and `swarmlite save`."""

from __future__ import annotations

import sys

import click

from swarmlite.cli import client
from swarmlite.cli.container.writing import written
from swarmlite.cli.image.platform import all_platforms_option, platform_option
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.images_pb2 import SaveImagesRequest
from swarmlite.proto.types_pb2 import Platform


@click.command("save", cls=Command)
@click.option("-o", "--output", default="", help="Write to a file, instead of STDOUT.")
@platform_option
@all_platforms_option
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@pass_session
def command(
    session: Session,
    images: tuple[str, ...],
    output: str,
    platform: Platform | None,
    all_platforms: bool,
) -> None:
    """Save one or more images to a tar archive (streamed to STDOUT by default)."""
    if not output and sys.stdout.isatty():
        raise InvalidSpec("cowardly refusing to save to a terminal: use -o FILE or redirect")
    request = SaveImagesRequest(refs=images, platform=platform, all_platforms=all_platforms)
    replies = client.stream(session.images.Save(request))
    chunks = (reply.data for reply in replies)
    if output:
        written(output, chunks)
        return
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
