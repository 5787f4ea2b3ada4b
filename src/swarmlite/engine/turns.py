"""How many containers are made and started at a time, and which is next.

Who is nearer to running goes first: a hundred that come at once would else all be made before any
is started, while who starts them has nothing to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator
from enum import IntEnum


class Stage(IntEnum):
    """What is to be done, the first to go first."""

    START = 0
    PREPARE = 1
    CREATE = 2


class Turns:
    """One event loop's. Nobody waits while a turn is free."""

    def __init__(self, at_once: int) -> None:
        """So many have a turn at a time."""
        self._free = at_once
        self._waiting: list[tuple[Stage, int, asyncio.Future[None]]] = []
        self._count = 0

    @contextlib.asynccontextmanager
    async def one(self, stage: Stage) -> AsyncIterator[None]:
        """A turn for the block, after those of an earlier stage and those that came before.

        Cancelled while it waits: it takes nobody's turn.
        """
        await self._take(stage)
        try:
            yield
        finally:
            self._give()

    async def _take(self, stage: Stage) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiting, (stage, self._count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given in the same moment
                self._give()
            raise

    def _give(self) -> None:
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
