"""`swarmlite image import` and `swarmlite import`; a module cannot bear that name."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

import click

from swarmlite.cli import client
from swarmlite.cli.image.platform import platform_option
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec, Unavailable
from swarmlite.proto.images_pb2 import (
    ImportImageRequest,
    ImportImageResponse,
    ImportOptions,
)
from swarmlite.proto.types_pb2 import Platform

_CHUNK_BYTES = 1024 * 1024
_TIMEOUT_S = 24 * 3600.0
_URL_TIMEOUT_S = 60.0


@click.command("import", cls=Command)
@click.option(
    "-c", "--change", "changes", multiple=True, help="Apply a Dockerfile instruction to the image."
)
@click.option("-m", "--message", default="", help="Set commit message for the imported image.")
@platform_option
@click.argument("source", metavar="FILE|URL|-")
@click.argument("reference", default="", metavar="[REPOSITORY[:TAG]]")
@pass_session
def command(
    session: Session,
    source: str,
    reference: str,
    changes: tuple[str, ...],
    message: str,
    platform: Platform | None,
) -> None:
    """Import the contents from a tarball to create a filesystem image."""
    options = ImportOptions(
        reference=reference,
        message=message or f"Imported from {source}",
        changes=changes,
        platform=platform,
    )
    failed: list[BaseException] = []
    with _opened(source) as stream:
        made: ImportImageResponse = client.call_stream(
            session.images.Import, _requests(options, stream, failed), _TIMEOUT_S, failed
        )
    click.echo(made.id)


def _opened(source: str) -> AbstractContextManager[IO[bytes]]:
    if source == "-":
        if sys.stdin.isatty():
            raise InvalidSpec("import from a terminal: redirect a tar to standard input")
        return nullcontext(sys.stdin.buffer)
    if not source.startswith(("http://", "https://")):
        return Path(source).open("rb")
    try:
        answer: Any = urllib.request.urlopen(source, timeout=_URL_TIMEOUT_S)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Unavailable(f"{source} cannot be fetched: {error}") from error
    opened: AbstractContextManager[IO[bytes]] = answer
    return opened


def _requests(
    options: ImportOptions, stream: IO[bytes], failed: list[BaseException]
) -> Iterator[ImportImageRequest]:
    yield ImportImageRequest(options=options)
    try:
        while chunk := stream.read(_CHUNK_BYTES):
            yield ImportImageRequest(chunk=chunk)
    except OSError as error:
        failed.append(error)
        raise
