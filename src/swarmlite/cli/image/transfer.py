"""Shows a pull or a load: a line a layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from swarmlite.cli import client
from swarmlite.cli.output.display import Display
from swarmlite.model import units
from swarmlite.proto.images_pb2 import ImageProgress, LocalImage

_MOVING = ("Downloading", "Extracting", "Loading")


def follow(
    replies: Iterable[ImageProgress], *, quiet: bool, out: TextIO | None = None
) -> list[LocalImage]:
    """Show each layer's progress until the end; the images that are there then."""
    display, images = Display(out, quiet=quiet), []
    for reply in client.stream(replies):
        if reply.HasField("image"):
            images.append(reply.image)
        if reply.layer and (display.terminal or reply.status not in _MOVING):
            display.show([(reply.layer, _text(reply))])
    return images


def _text(reply: ImageProgress) -> str:
    if reply.status in _MOVING and reply.total_bytes:
        now, total = units.format_size(reply.current_bytes), units.format_size(reply.total_bytes)
        return f"{reply.status} {now}/{total}"
    return reply.status
