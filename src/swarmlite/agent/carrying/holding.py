"""What this node tells its managers of the images that it holds: all at first, then changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from swarmlite.proto.dispatcher_pb2 import AgentMessage, HeldImages
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.store import ImageStore

MAX_HELD = 2000
"""Digests, those used last; managers take no more of one node."""
SETTLE_S = 0.02


class Holding:
    """Follows one store; one event loop's."""

    def __init__(self, store: ImageStore) -> None:
        self._entries: Callable[[], Sequence[Entry]] = store.entries
        self._changed = asyncio.Event()
        store.listeners.append(self._changed.set)

    async def messages(self) -> AsyncIterator[AgentMessage]:
        """Those of one session, without end."""
        self._changed.clear()
        said = self._digests()
        yield AgentMessage(images=HeldImages(complete=True, added=sorted(said)))
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            now = self._digests()
            if now != said:
                held = HeldImages(added=sorted(now - said), removed=sorted(said - now))
                said = now
                yield AgentMessage(images=held)

    def _digests(self) -> set[str]:
        entries = sorted(self._entries(), key=lambda entry: entry.used, reverse=True)
        found: dict[str, None] = {}
        for entry in entries:
            pinned = (name.rpartition("@")[2] for name in entry.digests)
            found.update(dict.fromkeys([entry.manifest, entry.index, *pinned]))
        return set([digest for digest in found if digest][:MAX_HELD])
