"""`swarmlite container stats` and `swarmlite stats`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.container.usage import LISTING, row
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output.listing import format_option, no_trunc_option
from swarmlite.cli.session import Session, pass_session
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
    """Display a live stream of container(s) resource usage statistics."""
    request = StatsRequest(refs=containers, stream=not no_stream, all=all)
    replies = client.stream(session.containers.Stats(request))
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
