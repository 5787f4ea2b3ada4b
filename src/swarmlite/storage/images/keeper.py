"""Keeps the store within what the node's owner allows it: one loop, off unless limits are set."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

from swarmlite.errors import SwarmliteError
from swarmlite.storage.images import pruning
from swarmlite.storage.images.pruning import Policy
from swarmlite.storage.images.store import ImageStore

log = logging.getLogger(__name__)

EVERY_S = 300.0
FRESH_S = 300.0
"""An image that was asked for so lately is spared: what asked may be about to hold it."""


class ImageKeeper:
    """Removes images by a policy, never one that is in use or was asked for a moment ago."""

    def __init__(
        self,
        store: ImageStore,
        policy: Policy,
        *,
        in_use: Callable[[], Collection[str]] = tuple,
        used_percent: Callable[[Path], float] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`in_use` names images that are used without a lease."""
        self._store = store
        self._policy = policy
        self._in_use = in_use
        self._used_percent = used_percent or disk_used_percent
        self._clock = clock

    async def run(self) -> None:
        """Look from time to time; ends only by cancellation."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self._store.save_uses()
                await self.look()
            except (SwarmliteError, OSError) as error:  # the next time may be better
                log.warning("images cannot be kept within limits error=%s", error)

    async def look(self) -> list[str]:
        """Remove what the policy does not allow; the ids of the images that went."""
        now = self._clock()
        old = pruning.unused_since(self._store.entries(), self._spared(now), self._policy, now)
        gone = [entry.id for entry in old]
        if gone:
            log.info("removing images that nobody used for days ids=%s", gone)
            await self._store.delete(gone)
        return [*gone, *await self._make_room(now)]

    async def _make_room(self, now: float) -> list[str]:
        """One image at a time: layers are shared, so what one gives back is not known before."""
        gone: list[str] = []
        limit = self._policy.disk_percent
        while limit and self._used_percent(self._store.root) > limit:
            candidates = pruning.least_recently_used(self._store.entries(), self._spared(now), now)
            if not candidates:
                log.warning("disk above its limit of %d%%, and every image is in use", limit)
                break
            entry = candidates[0]
            log.info("removing an image to make room id=%s tags=%s", entry.id, entry.tags)
            await self._store.delete([entry.id], wait=True)
            gone.append(entry.id)
        return gone

    def _spared(self, now: float) -> set[str]:
        recent = (
            entry.id
            for entry in self._store.entries()
            if pruning.last_use(entry, now) > now - FRESH_S
        )
        return {*self._store.ids_in_use(), *self._in_use(), *recent}


def disk_used_percent(path: Path) -> float:
    """How full the disk of `path` is, for those who are not root."""
    disk = os.statvfs(path)
    used = disk.f_blocks - disk.f_bfree
    return 100.0 * used / max(used + disk.f_bavail, 1)
