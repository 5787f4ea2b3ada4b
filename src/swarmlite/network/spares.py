"""What every sandbox begins with, made ahead: a container's start waits for less of the kernel."""

from __future__ import annotations

import asyncio
from collections import deque

from swarmlite.network.netns import Threads
from swarmlite.network.sandbox import DNSSockets, SandboxWiring

AHEAD = 2
"""Held from the first sandbox on; of many that come at once the others are made as they come."""


class Spares:
    """One event loop's. No file pins them: they are gone with this process, however it ends."""

    def __init__(self, threads: Threads) -> None:
        """`threads` make them."""
        self._threads = threads
        self._ready: deque[tuple[SandboxWiring, DNSSockets]] = deque()
        self._taken = asyncio.Event()

    def __len__(self) -> int:
        """How many are ready."""
        return len(self._ready)

    def take(self) -> tuple[SandboxWiring, DNSSockets] | None:
        """One, the caller's from now on, if there is any; another is made in its place."""
        self._taken.set()
        return self._ready.popleft() if self._ready else None

    async def fill_next(self) -> None:
        """Wait until one is taken and make what is missing. Raises OSError, SwarmliteError."""
        await self._taken.wait()
        self._taken.clear()
        while len(self._ready) < AHEAD:
            await self._threads.run(self._make)

    def _make(self) -> None:
        self._ready.append(SandboxWiring.create(self._threads.host, 0, {}))

    def close(self) -> None:
        """Let go of them, once the threads have ended."""
        while self._ready:
            wiring, sockets = self._ready.pop()
            for channel in sockets:
                channel.close()
            wiring.close()
