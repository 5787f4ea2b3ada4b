"""What every prune shares: the call, and what is said of what is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.output.listing import filters_of
from swarmlite.model import units
from swarmlite.proto.containers_pb2 import PruneRequest, PruneResponse

TIMEOUT_S = 600.0


def prune(method: Callable[..., Any], filters: Iterable[tuple[str, str]]) -> PruneResponse:
    """Remove what nobody uses; what was removed."""
    reply: PruneResponse = client.call(
        method, PruneRequest(filters=filters_of(filters)), timeout_s=TIMEOUT_S
    )
    return reply


def report(heading: str, reply: PruneResponse, *, space: bool) -> int:
    """Print what was removed under a heading (nothing without any); the bytes it held."""
    if reply.deleted:
        click.echo(heading)
        for name in reply.deleted:
            click.echo(name)
        click.echo()
    if space:
        click.echo(reclaimed(reply.reclaimed_bytes))
    return int(reply.reclaimed_bytes)


def reclaimed(size_bytes: int) -> str:
    """The last line of a prune."""
    return f"Total reclaimed space: {units.format_size(size_bytes)}"
