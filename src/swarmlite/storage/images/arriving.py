"""Blobs on their way here: what has come of one can be given on before the rest is here."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path


class Arrival:
    """One blob that is being downloaded, or that was and has yet to be kept.

    Nobody has checked its digest while it comes: whoever is given it checks that for himself.
    """

    def __init__(self, digest: str, size: int, path: Path) -> None:
        self.digest, self.size, self.path = digest, size, path
        self.have = 0
        self.ended = False
        """Nothing more comes: it is whole and kept, or was given up."""
        self._news = asyncio.Event()

    def grew(self, have: int) -> None:
        """So many bytes are in its file."""
        self.have = have
        self._wake()

    def end(self) -> None:
        """It is kept, or given up."""
        self.ended = True
        self._wake()

    async def beyond(self, offset: int, timeout_s: float) -> bool:
        """Wait for bytes beyond `offset`; False where none come in time, or any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.have <= offset and not self.ended:
                    await self._news.wait()
        return self.have > offset

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Arrivals:
    """Those of one store, by digest; one event loop's."""

    def __init__(self) -> None:
        self._now: dict[str, Arrival] = {}

    def begin(self, digest: str, size: int, path: Path) -> Arrival:
        """A download into `path` begins."""
        arrival = self._now[digest] = Arrival(digest, size, path)
        return arrival

    def end(self, arrival: Arrival) -> None:
        """It is over, either way; safe to repeat."""
        arrival.end()
        if self._now.get(arrival.digest) is arrival:
            del self._now[arrival.digest]

    def get(self, digest: str) -> Arrival | None:
        """The download that is under way."""
        return self._now.get(digest)
