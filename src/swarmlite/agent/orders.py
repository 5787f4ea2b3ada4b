"""What managers ask of this node by an id: each a task, until it ends or nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Orders:
    """One event loop's; so many at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, order_id: str, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Have it done, unless that has begun; False where there are too many."""
        if order_id in self._running:
            return True
        if len(self._running) >= self._limit:
            return False
        task = asyncio.ensure_future(work())
        self._running[order_id] = task
        task.add_done_callback(lambda _: self._running.pop(order_id, None))
        return True

    def cancel(self, order_id: str) -> None:
        """Nobody waits for it any more."""
        if (task := self._running.get(order_id)) is not None:
            task.cancel()

    def cancel_all(self) -> None:
        """Nobody waits for any of them."""
        for task in self._running.values():
            task.cancel()
