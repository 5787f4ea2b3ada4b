"""A step's layer: taken from the cache, or made in a snapshot and remembered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from swarmlite.build.cache import Entry
from swarmlite.build.state import State
from swarmlite.storage.images.flight import in_thread

if TYPE_CHECKING:
    from swarmlite.build.building import Build

Work = Callable[[str], Awaitable[None]]


async def layer(
    build: Build,
    state: State,
    key: str,
    text: str,
    work: Work,
    *,
    no_cache: bool,
    alone: bool = False,
) -> bool:
    """Let a stage grow by the layer of a step; whether the cache had it.

    `work` changes the files of the snapshot by whose key it is called; with `alone` it sees
    nothing of the layers below. Raises what it raises; nothing stays then.
    """
    async with contextlib.AsyncExitStack() as stack:
        if not no_cache:
            await stack.enter_async_context(build.cache.locks.hold(key))
            entry = build.cache.get(key)
            if entry is not None:
                build.pins.add(*entry.chain)
                state.grown(entry.chain, text, entry.created, key)
                return True
        entry = await _made(build, state.chain, key, text, work, alone=alone)
        state.grown(entry.chain, text, entry.created, key)
        return False


async def _made(
    build: Build, below: tuple[str, ...], key: str, text: str, work: Work, *, alone: bool
) -> Entry:
    snapshots = build.engine.storage.snapshots
    layering = build.engine.storage.images.layering
    async with build.around.running:
        with build.engine.transients.held() as name:
            try:
                await in_thread(snapshots.prepare, name, () if alone else below)
                await work(name)
                chain = await layering.commit(
                    snapshots, name, below, build.pins.add, latest=build.epoch
                )
            finally:
                await _removed(build, name)
    found = layering.layer(chain[-1])
    size = found.size_bytes if found is not None else 0
    return build.cache.put(key, chain, moment(build), size, text)


async def _removed(build: Build, name: str) -> None:
    remove = asyncio.ensure_future(asyncio.to_thread(build.engine.storage.snapshots.remove, name))
    while not remove.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((remove,))
    remove.result()


def moment(build: Build) -> str:
    """Now, or the time that the build is to be of: RFC 3339."""
    if build.epoch is not None:
        return datetime.fromtimestamp(build.epoch, UTC).isoformat().replace("+00:00", "Z")
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
