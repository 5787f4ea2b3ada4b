"""Shows a pull, a push or a load: a line a layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TextIO

from swarmlite.cli import client
from swarmlite.cli.output.display import Display
from swarmlite.model import units
from swarmlite.proto.images_pb2 import ImageProgress, LocalImage, PushedTag

MOVING = ("Downloading", "Extracting", "Loading", "Pushing")
_BAR = 50


@dataclass
class Done:
    """What a transfer ended with."""

    images: list[LocalImage] = field(default_factory=list)
    pushed: list[PushedTag] = field(default_factory=list)


def follow(replies: Iterable[ImageProgress], *, quiet: bool, out: TextIO | None = None) -> Done:
    """Show each layer's progress until the end; what came of it."""
    display, done = Display(out, quiet=quiet), Done()
    for reply in client.stream(replies):
        if reply.HasField("image"):
            done.images.append(reply.image)
        if reply.HasField("pushed"):
            done.pushed.append(reply.pushed)
        if reply.layer and (display.terminal or reply.status not in MOVING):
            display.show([(reply.layer, text_of(reply))])
    return done


def text_of(reply: ImageProgress) -> str:
    """What a layer's line says, with Docker's bar where it moves."""
    if reply.status not in MOVING or not reply.total_bytes:
        return reply.status
    now, total = units.format_size(reply.current_bytes), units.format_size(reply.total_bytes)
    filled = min(_BAR * reply.current_bytes // reply.total_bytes, _BAR)
    bar = "=" * filled + ">" * (filled < _BAR)
    return f"{reply.status} [{bar.ljust(_BAR)}] {now}/{total}"
