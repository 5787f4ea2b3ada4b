"""Reading and writing pipes and consoles without blocking the loop."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterable

from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT, LogStream

BLOCK_BYTES = 65536


class Owned:
    """Descriptors that are closed once: by `close`, or at the end of the block."""

    def __init__(self) -> None:
        """Owns nothing yet."""
        self._descriptors: set[int] = set()

    def __enter__(self) -> Owned:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(*list(self._descriptors))

    def add(self, *descriptors: int) -> None:
        """Take descriptors over."""
        self._descriptors.update(descriptors)

    def pipe(self) -> tuple[int, int]:
        """A new pipe: its read end and its write end."""
        ends = os.pipe2(os.O_CLOEXEC)
        self.add(*ends)
        return ends

    def release(self, *descriptors: int) -> Owned:
        """Those of them that are still owned, with a new owner."""
        other = Owned()
        other._descriptors = self._descriptors.intersection(descriptors)
        self._descriptors -= other._descriptors
        return other

    def close(self, *descriptors: int) -> None:
        """Close those still owned; a number that was closed may be someone else's by now."""
        for descriptor in descriptors:
            if descriptor in self._descriptors:
                self._descriptors.remove(descriptor)
                os.close(descriptor)


def output_pipes(
    owned: Owned, *, stdout: bool, stderr: bool
) -> tuple[dict[int, LogStream.ValueType], dict[str, int]]:
    """A pipe for each stream that is wanted: ends to read from, without blocking, and to write."""
    streams, theirs = {}, {}
    for name, wanted, kind in (("stdout", stdout, LOG_STDOUT), ("stderr", stderr, LOG_STDERR)):
        if wanted:
            ours, theirs[name] = owned.pipe()
            os.set_blocking(ours, False)
            streams[ours] = kind
    return streams, theirs


async def read_chunks(descriptor: int) -> AsyncIterator[bytes]:
    """What comes out of a non-blocking descriptor, until its end (of a console: its last user)."""
    while (data := read_chunk(descriptor)) != b"":
        if data is None:
            await any_readable((descriptor,))
        else:
            yield data


def read_chunk(descriptor: int) -> bytes | None:
    """What a non-blocking descriptor has: nothing yet (None), or nothing ever again (empty)."""
    try:
        return os.read(descriptor, BLOCK_BYTES)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:  # of a console, after its last user
            return b""
        raise


async def any_readable(descriptors: Iterable[int]) -> None:
    """Until one of them can be read from."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    for descriptor in descriptors:
        loop.add_reader(descriptor, wake)
    try:
        await future
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)


async def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`; raises BrokenPipeError when nobody reads."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            await ready(descriptor, writing=True)


async def ready(descriptor: int, *, writing: bool) -> None:
    """Until it can be read from, or written to."""
    if not writing:
        await any_readable((descriptor,))
        return
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    loop.add_writer(descriptor, wake)
    try:
        await future
    finally:
        loop.remove_writer(descriptor)
