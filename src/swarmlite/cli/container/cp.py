"""`swarmlite container cp` and `swarmlite cp`."""

from __future__ import annotations

import os
import posixpath
import stat
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import click

from swarmlite.cli import client
from swarmlite.cli.container import archives, copyrules
from swarmlite.cli.container.copyrules import STREAM, Place
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output.archive import written_or_printed
from swarmlite.cli.reaching import WRITE, on_task
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.kernel import durable
from swarmlite.model import units
from swarmlite.proto.containers_pb2 import (
    CopyFromResponse,
    CopyToRequest,
    PathRequest,
    PathStat,
)

_LINKS = 40
"""As many as the kernel follows."""


@click.command("cp", cls=Command)
@flag("-a", "--archive", help="Archive mode (copy all uid/gid information).")
@flag("-L", "--follow-link", help="Always follow symbol link in SRC_PATH.")
@flag("-q", "--quiet", help="Suppress progress output during copy.")
@click.argument("source", metavar="CONTAINER:SRC_PATH|SRC_PATH|-", type=click.UNPROCESSED)
@click.argument("destination", metavar="DEST_PATH|-|CONTAINER:DEST_PATH", type=click.UNPROCESSED)
@pass_session
def command(
    session: Session,
    source: str,
    destination: str,
    archive: bool,
    follow_link: bool,
    quiet: bool,
) -> None:
    """Copy files/folders between a container, or a task of the swarm, and the local filesystem.

    A source of "-" reads a tar archive from standard input and extracts it to a directory of the
    container; a destination of "-" writes a tar archive to standard output.

    \b
    Examples:
      swarmlite cp web.1:/etc/nginx/nginx.conf .
      swarmlite cp ./page.html web:/usr/share/nginx/html/
    """
    start, end = copyrules.parse(source), copyrules.parse(destination)
    if start.container and end.container:
        raise InvalidSpec("copying between containers is not supported")
    if not start.container and not end.container:
        raise InvalidSpec("must specify at least one container source, as CONTAINER:PATH")

    def copy(there: Session, ref: str) -> int:
        if start.container:
            place = Place(ref, start.path)
            return _from(there, place, end.path, follow=follow_link, owners=archive)
        return _to(there, start.path, Place(ref, end.path), follow=follow_link, owners=archive)

    size = on_task(session, start.container or end.container, WRITE, copy)
    if not quiet and sys.stderr.isatty() and destination != STREAM:
        click.echo(f"Successfully copied {units.format_size(size)} to {destination}", err=True)


# From a container
def _from(session: Session, start: Place, destination: str, *, follow: bool, owners: bool) -> int:
    path = copyrules.in_container(start.path)
    if follow:
        path, _ = _followed(session, start.container, path)
    request = PathRequest(ref=start.container, path=posixpath.normpath(path))
    replies = client.stream(session.containers.CopyFrom(request))
    found = next(replies).stat
    reader = archives.ChunkReader(_data(replies))
    if destination == STREAM:
        if sys.stdout.isatty():
            raise InvalidSpec("refusing to write an archive to a terminal: redirect it")
        written_or_printed("", iter(lambda: reader.read(archives.CHUNK_BYTES), b""))
        return reader.size_bytes
    goal = copyrules.target(path, found.mode, destination, _local_mode(destination))
    if not Path(goal.directory).is_dir():
        raise InvalidSpec(f"the directory {goal.directory} does not exist")
    # The root of the archive has the source's own name, whatever is made of it here.
    root = posixpath.basename(posixpath.normpath(path))
    rename = partial(copyrules.renamed, root=root, wanted=goal.name)
    with durable.named(destination):
        archives.unpack(reader, Path(goal.directory), rename, keep_owners=owners, skipped=_skipped)
    return reader.size_bytes


def _data(replies: Iterable[CopyFromResponse]) -> Iterator[bytes]:
    for reply in replies:
        if reply.data:
            yield reply.data


def _skipped(name: str) -> None:
    click.echo(f"left out {name}: devices are not copied out of a container", err=True)


def _local_mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode  # noqa: PTH116  # a trailing slash means something
    except FileNotFoundError:
        return None


# To a container
def _to(session: Session, source: str, end: Place, *, follow: bool, owners: bool) -> int:
    path = copyrules.in_container(end.path)
    path, found = _followed(session, end.container, path)
    mode = None if found is None else found.mode
    if source == STREAM:
        if mode is None or not stat.S_ISDIR(mode):
            raise InvalidSpec(f"destination {end.container}:{end.path} must be a directory")
        chunks: Iterable[bytes] = iter(lambda: sys.stdin.buffer.read(archives.CHUNK_BYTES), b"")
        return _send(session, end.container, path, chunks, owners)
    status = os.stat(source, follow_symlinks=follow or copyrules.says_directory(source))  # noqa: PTH116
    goal = copyrules.target(_named(source), status.st_mode, path, mode)
    if goal.directory != path.rstrip("/") and mode is None:
        _require_directory(session, end.container, goal.directory)
    chunks = archives.packed(
        Path(source),
        goal.name,
        follow=follow or copyrules.says_directory(source),
        keep_owners=owners,
    )
    return _send(session, end.container, goal.directory, chunks, owners)


def _named(source: str) -> str:
    """The source with a name of its own: of ".." it is that of the directory that it is."""
    if posixpath.basename(posixpath.normpath(source)) in ("..", "."):
        return copyrules.keep_ending(os.path.realpath(source), source)
    return source


def _require_directory(session: Session, container: str, path: str) -> None:
    _, found = _followed(session, container, path)
    if found is None or not stat.S_ISDIR(found.mode):
        raise NotFound(f"no such directory in {container}: {path}")


def _send(
    session: Session, container: str, directory: str, chunks: Iterable[bytes], owners: bool
) -> int:
    sent = 0

    def requests() -> Iterator[CopyToRequest]:
        nonlocal sent
        to = CopyToRequest.To(
            ref=container, path=directory, no_overwrite_dir_non_dir=True, copy_uid_gid=owners
        )
        yield CopyToRequest(to=to)
        for chunk in chunks:
            sent += len(chunk)
            yield CopyToRequest(data=chunk)

    failed: list[BaseException] = []
    client.call_stream(
        session.containers.CopyTo, _watched(requests(), failed), units.FOREVER_S, failed
    )
    return sent


def _watched(
    requests: Iterator[CopyToRequest], failed: list[BaseException]
) -> Iterator[CopyToRequest]:
    """gRPC swallows what a stream of requests raises; here it is kept for the caller."""
    try:
        yield from requests
    except Exception as error:
        failed.append(error)
        raise


# What is there in a container
def _stat(session: Session, container: str, path: str) -> PathStat | None:
    try:
        found: PathStat = client.call(
            session.containers.StatPath, PathRequest(ref=container, path=path)
        )
    except NotFound as error:
        if "container" in str(error).lower() and path not in str(error):
            raise
        return None
    return found


def _followed(session: Session, container: str, path: str) -> tuple[str, PathStat | None]:
    """The path that links lead to and what is there, None without anything."""
    for _ in range(_LINKS):
        found = _stat(session, container, path)
        if found is None or not stat.S_ISLNK(found.mode):
            return path, found
        clean = posixpath.normpath(path)
        target = posixpath.join(posixpath.dirname(clean), found.link_target)
        path = copyrules.keep_ending(posixpath.normpath(target), path)
    raise InvalidSpec(f"{container}:{path}: too many links")
