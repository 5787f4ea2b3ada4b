"""`swarmlite image load` and `swarmlite load`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import click

from swarmlite.cli.image.platform import platform_option
from swarmlite.cli.image.transfer import follow
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.images_pb2 import LoadImageRequest
from swarmlite.proto.types_pb2 import Platform

CHUNK_BYTES = 1024 * 1024


@click.command("load", cls=Command)
@click.option("-i", "--input", "path", help="Read from tar archive file, instead of STDIN.")
@flag("-q", "--quiet", help="Suppress the load output.")
@platform_option
@pass_session
def command(session: Session, path: str | None, quiet: bool, platform: Platform | None) -> None:
    """Load an image from a tar archive or STDIN."""
    if path is None and sys.stdin.isatty():
        raise InvalidSpec("requested load from stdin, but stdin is empty: give --input FILE")
    engine = session.images
    with Path(path).open("rb") if path else nullcontext(sys.stdin.buffer) as stream:
        for image in follow(engine.Load(_chunks(stream, platform)), quiet=quiet).images:
            for tag in image.repo_tags:
                click.echo(f"Loaded image: {tag}")
            if not image.repo_tags:
                click.echo(f"Loaded image ID: {image.id}")


def _chunks(stream: BinaryIO, platform: Platform | None) -> Iterator[LoadImageRequest]:
    yield LoadImageRequest(platform=platform)
    while chunk := stream.read(CHUNK_BYTES):
        yield LoadImageRequest(chunk=chunk)
