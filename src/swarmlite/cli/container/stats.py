"""`swarmlite container stats` and `swarmlite stats`."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from queue import SimpleQueue
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.container.usage import LISTING, row
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output.listing import format_option, no_trunc_option
from swarmlite.cli.reaching import READ, elsewhere
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import NotFound, SwarmliteError
from swarmlite.proto.containers_pb2 import ContainerStats, StatsRequest

_HOME = "\x1b[H\x1b[J"
REFRESH_S = 0.5


@click.command("stats", cls=Command)
@flag("-a", "--all", help="Show all containers (default shows just running).")
@flag("--no-stream", help="Disable streaming stats and only pull the first result.")
@no_trunc_option
@format_option
@click.argument("containers", nargs=-1, metavar="[CONTAINER...]")
@pass_session
def command(
    session: Session,
    /,
    containers: tuple[str, ...],
    all: bool,
    no_stream: bool,
    no_trunc: bool,
    form: str,
) -> None:
    """Display a live stream of container(s) resource usage statistics.

    \b
    Examples:
      swarmlite stats
      swarmlite stats --no-stream web.1 web.2
    """
    request = StatsRequest(refs=containers, stream=not no_stream, all=all)
    replies = _measured(session, request)
    if no_stream:
        latest = {reply.id: row(reply, None, no_trunc) for reply in replies}
        LISTING.print(latest.values(), form)
        return
    screen = not form or form.startswith("table")
    for rows in rounds(replies, no_trunc):
        if screen and sys.stdout.isatty():
            click.echo(_HOME, nl=False)
        LISTING.print(rows.values(), form)
        sys.stdout.flush()


def _measured(session: Session, request: StatsRequest) -> Iterator[ContainerStats]:
    """Of containers of the node, and of tasks wherever they run."""
    if session.node.managers_only and request.refs:
        return _together(_each(session, request))
    try:
        replies = iter(client.stream(session.containers.Stats(request)))
        first = next(replies, None)
    except NotFound:
        if not request.refs:
            raise
        return _together(_each(session, request))
    return iter(()) if first is None else itertools.chain((first,), replies)


def _each(session: Session, request: StatsRequest) -> list[Iterator[ContainerStats]]:
    """One call a container; raises NotFound for one that is nowhere."""
    found = []
    for ref in request.refs:
        there, name = elsewhere(session, ref, READ) or (session, ref)
        one = StatsRequest(refs=[name], stream=request.stream, all=request.all)
        found.append(iter(client.stream(there.containers.Stats(one))))
    return found


def _together(sources: list[Iterator[ContainerStats]]) -> Iterator[ContainerStats]:
    """What any of them gives, as it comes."""
    queue: SimpleQueue[ContainerStats | SwarmliteError | None] = SimpleQueue()

    def take(source: Iterator[ContainerStats]) -> None:
        try:
            for reply in source:
                queue.put(reply)
            queue.put(None)
        except SwarmliteError as error:
            queue.put(error)

    for source in sources:
        threading.Thread(target=take, args=(source,), daemon=True).start()
    left = len(sources)
    while left:
        found = queue.get()
        if isinstance(found, SwarmliteError):
            raise found
        if found is None:
            left -= 1
        else:
            yield found


def rounds(
    replies: Iterator[ContainerStats], no_trunc: bool
) -> Iterator[Mapping[str, Mapping[str, Any]]]:
    """All containers' latest rows, each time that some of them have changed."""
    before: dict[str, ContainerStats] = {}
    rows: dict[str, Mapping[str, Any]] = {}
    shown = 0.0
    for reply in replies:
        seen = reply.id in before
        if seen and time.monotonic() - shown >= REFRESH_S:
            shown = time.monotonic()
            yield rows
        if not reply.running and seen and not before[reply.id].running:
            rows.pop(reply.id, None)
            continue
        rows[reply.id] = row(reply, before.get(reply.id), no_trunc)
        before[reply.id] = reply
    if rows:
        yield rows
