"""A hijacked connection and a call of the engine's, joined: where descriptors are not handed over.

Input goes up as the engine takes it, output comes down as the client takes it: neither is kept
here. A client that stops writing ends the container's input only; one that vanishes ends the call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import grpc

from swarmlite import rpc
from swarmlite.gateway.streams.connection import Hijacked
from swarmlite.gateway.streams.frames import frame
from swarmlite.model.detach_keys import Detector
from swarmlite.proto.control_pb2 import LOG_STDOUT

CHUNK_BYTES = 64 * 1024
DETACHED = "read escape sequence"


async def converse(
    client: Hijacked,
    call: Any,
    message: Callable[..., Any],
    *,
    tty: bool,
    stdin: bool,
    detach_keys: bytes | None = None,
) -> None:
    """Until the call ends or the keys that detach are typed. Raises ConnectionError.

    `tty`: the output goes without frames; `detach_keys` only where there is a terminal to type at.
    `message(stdin=..., stdin_close=...)` makes what goes up. A call that fails is told in the
    stream, since the status has been sent.
    """
    detector = Detector(detach_keys) if detach_keys else None
    feeding = asyncio.ensure_future(_feed(client, call, message, stdin, detector))
    try:
        async for output in call:
            if output.data:
                await client.write(frame(output.stream, output.data, tty=tty))
    except grpc.RpcError as error:
        if not (feeding.done() and not feeding.cancelled() and feeding.result()):
            said = str(rpc.translate(error, "the node"))
            await client.write(frame(LOG_STDOUT, f"{said}\r\n".encode(), tty=tty))
    finally:
        feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await feeding
        call.cancel()


async def _feed(
    client: Hijacked,
    call: Any,
    message: Callable[..., Any],
    stdin: bool,
    detector: Detector | None,
) -> bool:
    """Input up until its end; True when the keys that detach were typed, which ends the call."""
    with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
        while data := await client.read():
            if not stdin:
                continue
            found = False
            if detector is not None:
                data, found = detector.feed(data)
            for start in range(0, len(data), CHUNK_BYTES):
                await call.write(message(stdin=data[start : start + CHUNK_BYTES]))
            if found:
                call.cancel()
                return True
        if stdin:
            await call.write(message(stdin_close=True))
    return False
