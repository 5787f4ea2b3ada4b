"""Bytes between threads, which read and write files, and the loop, which talks to clients."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

CHUNK_BYTES = 256 << 10
WAITING_CHUNKS = 8


async def from_thread(pieces: Callable[[], Iterator[bytes]]) -> AsyncIterator[bytes]:
    """What an iterator gives, in larger chunks; all of it runs on threads, also its end.

    Raises what it raises. Closed early: so is the iterator.
    """
    source = await asyncio.to_thread(pieces)
    try:
        while chunk := await asyncio.to_thread(_gather, source):
            yield chunk
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            await asyncio.to_thread(close)


def _gather(source: Iterator[bytes]) -> bytes:
    chunk = bytearray()
    for piece in source:
        chunk += piece
        if len(chunk) >= CHUNK_BYTES:
            break
    return bytes(chunk)


class ToThread:
    """A file that a thread reads, and that the loop writes. `read` ends when `close` was called."""

    def __init__(self) -> None:
        """Holds a few chunks, no more."""
        self._queue: queue.Queue[bytes | None] = queue.Queue(WAITING_CHUNKS)
        self._rest = b""
        self._ended = False
        self._abandoned = False

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer only at the end. Blocks."""
        found = bytearray()
        while size < 0 or len(found) < size:
            if not self._rest:
                if self._ended:
                    break
                chunk = self._queue.get()
                if chunk is None:
                    self._ended = True
                    break
                self._rest = chunk
            taken = self._rest if size < 0 else self._rest[: size - len(found)]
            self._rest = self._rest[len(taken) :]
            found += taken
        return bytes(found)

    async def write(self, data: bytes) -> None:
        """Wait until the thread has room; at once when it reads no more."""
        while not self._abandoned:
            try:
                self._queue.put_nowait(data)
                return
            except queue.Full:
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        """There is no more."""
        while not self._abandoned:
            try:
                self._queue.put_nowait(None)
                return
            except queue.Full:
                await asyncio.sleep(0.005)

    def abandon(self) -> None:
        """The thread reads no more."""
        self._abandoned = True


async def through_thread(chunks: AsyncIterator[bytes], work: Callable[[ToThread], None]) -> None:
    """Give a thread what comes. Raises what `work` raises; it ends before this returns."""
    pipe = ToThread()

    def run() -> None:
        try:
            work(pipe)
        finally:
            pipe.abandon()

    task = asyncio.ensure_future(asyncio.to_thread(run))
    feed = asyncio.ensure_future(_feed(chunks, pipe))
    try:
        await asyncio.wait((task, feed), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            feed.result()  # a client that went away in mid-air
        await task
    finally:
        feed.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await feed
        await pipe.close()
        await _ended(task)


async def _feed(chunks: AsyncIterator[bytes], pipe: ToThread) -> None:
    async for chunk in chunks:
        await pipe.write(chunk)
    await pipe.close()


async def _ended(task: asyncio.Future[Any]) -> None:
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((task,))
