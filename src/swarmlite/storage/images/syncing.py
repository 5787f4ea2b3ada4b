"""Bringing a disk up to date, once for all who wait for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from swarmlite.kernel import durable


class DiskSync:
    """`await sync()`: whatever was written before is on the disk. Raises OSError.

    Calls that come while one is under way share the next: ten layers at once cost two or three.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        """Wait until it is done."""
        if self._next is None:
            self._next = asyncio.create_task(self._round())
        await asyncio.shield(self._next)

    async def _round(self) -> None:
        async with self._turn:
            self._next = None  # whoever comes from now on has written what this one may miss
            await asyncio.to_thread(durable.sync_disk, self._path)
