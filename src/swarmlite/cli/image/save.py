"""`swarmlite image save` and `swarmlite save`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.image.platform import all_platforms_option, platform_option
from swarmlite.cli.lazy import Command
from swarmlite.cli.output.archive import refuse_terminal, written_or_printed
from swarmlite.cli.session import Session, pass_session
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
    refuse_terminal(output)
    request = SaveImagesRequest(refs=images, platform=platform, all_platforms=all_platforms)
    replies = client.stream(session.images.Save(request))
    written_or_printed(output, (reply.data for reply in replies))
