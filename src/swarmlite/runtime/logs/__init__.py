"""Reading a container's log file: the JSON lines that the supervisor writes.

A line is `{"log": "text\\n", "stream": "stdout", "time": "2024-05-01T12:00:00.123456789Z"}`, with
`"attrs"` where some were asked for; text longer than 16 KiB is in parts, of which only the last
ends in a newline. When the file is full it becomes path.1, path.1 becomes path.2 (with .gz when
compressed), the oldest goes.

Reading and parsing is done by threads, a block at a time, so that a loop which has other things to
do never waits for more than a few milliseconds, however large the log is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path

from swarmlite.runtime.logs.lines import LogLine, parse_line, parse_time
from swarmlite.runtime.logs.reader import Reader, Selection

__all__ = ["LogLine", "batches", "parse_line", "parse_time", "read"]

POLL_S = 0.1


async def read(
    path: Path,
    *,
    tail: int = -1,
    since: float | None = None,
    until: float | None = None,
    follow: bool = False,
    ended: asyncio.Event | None = None,
) -> AsyncIterator[LogLine]:
    """The log's lines, as `batches` gives them."""
    selection = Selection(tail, _nanoseconds(since), _nanoseconds(until))
    async with contextlib.aclosing(batches(path, selection, follow=follow, ended=ended)) as found:
        async for batch in found:
            for line in batch:
                yield line


async def batches(
    path: Path,
    selection: Selection,
    *,
    follow: bool = False,
    ended: asyncio.Event | None = None,
    begun: Callable[[], Awaitable[None]] | None = None,
) -> AsyncGenerator[list[LogLine], None]:
    """Lines, oldest first, as many at once as a block holds.

    Of the last `tail` lines those not before `since` and not after `until`. A line comes whole,
    its parts joined, up to MAX_JOINED_BYTES. With `follow` it goes on across rotation until
    cancelled, until a line is after `until`, or until `ended` is set and all that was written has
    been read. A missing file is an empty one. Lines that rotation threw away before they were read
    are lost. `begun` is awaited once it is fixed where the reading begins: what is written from
    then on is given. Raises OSError for a file that cannot be read.
    """
    reader = Reader(path, selection)
    try:
        if begun is not None:
            await asyncio.to_thread(reader.begin)
            await begun()
        while True:
            last_round = not follow or (ended is not None and ended.is_set())
            while batch := await asyncio.to_thread(reader.next_batch):
                yield batch
            if reader.over:
                return
            if last_round:
                if rest := reader.rest():
                    yield rest
                return
            await _news(reader, ended)
    finally:
        # A thread may be reading: it is told to stop, and closes what it holds.
        reader.stop()


async def _news(reader: Reader, ended: asyncio.Event | None) -> None:
    """Until there is more to read, or `ended`; files cannot be waited for in any other way."""
    while not reader.grown() and not (ended is not None and ended.is_set()):  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)


def _nanoseconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment * 1e9)
