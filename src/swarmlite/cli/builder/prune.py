"""`swarmlite builder prune`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.confirming import confirm, prune_options
from swarmlite.cli.flagtypes import BYTES
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output.listing import filters_of
from swarmlite.cli.pruning import TIMEOUT_S, report
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.build_pb2 import PruneBuildCacheRequest


@click.command("prune", cls=Command)
@prune_options
@flag("-a", "--all", help="Remove all of the cache, not just what nothing else uses.")
@click.option("--keep-storage", "keep", type=BYTES, default="0", help="Amount to keep (the newest)")
@click.option("--max-used-space", "keep", type=BYTES, hidden=True)
@pass_session
def command(session: Session, filters: Any, force: bool, all: bool, keep: int) -> None:
    """Remove the build cache."""
    which = "all build cache" if all else "all dangling build cache"
    confirm(f"This will remove {which}.", force=force, what="builder prune")
    request = PruneBuildCacheRequest(
        filters=filters_of(filters), all=all, keep_bytes=keep if isinstance(keep, int) else 0
    )
    reply = client.call(session.builds.PruneCache, request, timeout_s=TIMEOUT_S)
    report("Deleted build cache objects:", reply, space=True)
