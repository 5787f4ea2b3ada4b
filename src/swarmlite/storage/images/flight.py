"""One piece of work for all who ask for the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """Work by key; who asks for a key whose work is under way waits for that work.

    Cancelling one of several waiters leaves the work running; cancelling the last one cancels it.
    A failure reaches every waiter and is then forgotten.
    """

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}
        self._waiters: dict[Hashable, int] = {}

    async def run(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work` for `key`."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.ensure_future(_call(work))
            self._tasks[key] = task
            self._waiters[key] = 0
            task.add_done_callback(lambda done: self._forget(key, done))
        self._waiters[key] += 1
        try:
            return await asyncio.shield(task)
        finally:
            if self._tasks.get(key) is task:
                self._waiters[key] -= 1
                if not self._waiters[key] and not task.done():
                    self._forget(key, task)
                    task.cancel()
                    await asyncio.wait([task])

    def _forget(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key], self._waiters[key]
        if task.done() and not task.cancelled():
            task.exception()  # seen, even where every waiter was cancelled


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run `function` in a thread, to its end: also when cancelled, before that is raised."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # seen
        raise


async def _call(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


class Locks:
    """One lock a key, there while anyone wants it."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[None]:
        """Be the only one with `key`."""
        lock, users = self._locks.setdefault(key, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[key]
