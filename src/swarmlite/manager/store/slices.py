"""Long pieces of a manager's own work, one in each turn of the event loop.

Who waits for an event, such as every loop of the leader for the tasks of a new service, is woken
in the same turn as all the others: together they would keep the API's calls waiting for the sum.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slices:
    """One event loop's."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A turn of the loop for the block, which awaits nothing; those that came before go first.

        Cancelled while it waits: it takes nobody's turn. What the block raises is raised.
        """
        async with self._lock:
            try:
                yield
            finally:
                await asyncio.sleep(0)  # whatever else is ready goes before the next of these
