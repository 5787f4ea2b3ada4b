"""Between gRPC's messages and descriptors: several streams out as one, input in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Protocol

from swarmlite.engine.io.descriptors import Owned, any_readable, read_chunk, write_all
from swarmlite.proto.containers_pb2 import StreamOutput
from swarmlite.proto.control_pb2 import LogStream


class Input(Protocol):
    """A message that carries standard input: AttachInput, ExecInput."""

    stdin: bytes
    stdin_close: bool


async def outputs(
    streams: Mapping[int, LogStream.ValueType],
) -> AsyncGenerator[StreamOutput, None]:
    """What comes out of non-blocking descriptors, until all are at their end.

    Who does not ask for more is not read for: the pipes fill, and the container waits.
    """
    left = dict(streams)
    while left:
        idle = True
        for descriptor, kind in streams.items():
            if descriptor not in left or (data := read_chunk(descriptor)) is None:
                continue
            idle = False
            if data:
                yield StreamOutput(stream=kind, data=data)
            else:
                del left[descriptor]
        if idle:
            await any_readable(left)


async def feed(owned: Owned, descriptor: int, inputs: AsyncIterator[Input]) -> None:
    """Hand input on until its end, then close `descriptor`; who reads no more is no error."""
    with contextlib.suppress(OSError):  # EPIPE, and EIO of a console that is gone
        async for message in inputs:
            if message.stdin:
                await write_all(descriptor, message.stdin)
            if message.stdin_close:
                break
    owned.close(descriptor)


async def ended(*futures: asyncio.Future[Any]) -> None:
    """Cancel them, and return when they have ended."""
    for future in futures:
        future.cancel()
    if futures:
        await asyncio.wait(futures)
