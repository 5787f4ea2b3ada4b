"""Whether managers answer, and for how long they have not."""

from __future__ import annotations

import asyncio
import contextlib
import time

PATIENCE_PERIODS = 3
"""After so many heartbeats without a manager it is taken for gone, and helps itself."""
DEFAULT_PERIOD_S = 5.0


class Contact:
    """Kept by the session, asked by the tasks' controllers; one event loop's."""

    def __init__(self) -> None:
        """No manager has answered yet, and the wait begins now."""
        self.period_s = DEFAULT_PERIOD_S
        self._back = asyncio.Event()
        self._lost_at = time.monotonic()

    @property
    def connected(self) -> bool:
        """Whether a session is open."""
        return self._back.is_set()

    def found(self, period_s: float) -> None:
        """A session began; it wants a heartbeat a period."""
        self.period_s = period_s or DEFAULT_PERIOD_S
        self._back.set()

    def lost(self) -> None:
        """It ended."""
        if self._back.is_set():
            self._lost_at = time.monotonic()
            self._back.clear()

    async def back_within(self, delay_s: float) -> bool:
        """Whether a manager answers within `delay_s`, and within a node's patience at the least."""
        patience_s = self._lost_at + PATIENCE_PERIODS * self.period_s - time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(delay_s, patience_s, 0)):
                await self._back.wait()
        return self.connected
