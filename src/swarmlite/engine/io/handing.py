"""Attachments whose descriptors go to who asks, so that what flows costs no message of ours.

A connection of the socket (SOCK_SEQPACKET, JSON) is one attachment. The client says `{"ref",
"stdin", "stdout", "stderr"}`, and is answered `{"tty", "streams": ["stdout", ...]}` with the ends
of their pipes to read from, once nothing can be missed any more. When the container's process is
there, `{"stdin": BOOL}` comes, with the descriptor of its input if that is true. Who asks by
another packet, of any kind, hears of the process's end: the connection ends. Any of them may be
`{"error": {"kind", "message"}}` in place of that, kind a class of swarmlite.errors.

A client that hangs up before its process is there takes its attachment with it. Afterwards its
descriptors are all that there is, and they outlive this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from swarmlite.engine.io.pumps import ended
from swarmlite.engine.io.service import Streams
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.proto.containers_pb2 import AttachInput, Container
from swarmlite.proto.control_pb2 import LOG_STDOUT

log = logging.getLogger(__name__)

REQUEST_BYTES = 16 * 1024
BACKLOG = 1024
FULL_S = 0.1
"""Until the next try, when this process has no descriptors left."""


class Handing:
    """The socket; `run` answers on it."""

    def __init__(self, path: Path, streams: Streams, find: Callable[[str], Container]) -> None:
        """`find` looks a container up by a user's reference: raises NotFound, InvalidSpec."""
        self._path, self._streams, self._find = path, streams, find

    async def run(self) -> None:
        """Until cancelled. Raises OSError where the socket cannot be made."""
        loop = asyncio.get_running_loop()
        with _listening(self._path) as listener:
            async with asyncio.TaskGroup() as group:
                while True:
                    try:
                        client, _ = await loop.sock_accept(listener)
                    except OSError as error:
                        log.warning("attachment refused error=%s", error)
                        await asyncio.sleep(FULL_S)
                        continue
                    group.create_task(self._served(client))

    async def _served(self, client: socket.socket) -> None:
        client.setblocking(False)
        with client, contextlib.suppress(OSError):  # it has gone
            try:
                await self._hand_over(client)
            except SwarmliteError as error:
                kind = type(error).__name__
                _send(client, {"error": {"kind": kind, "message": str(error)}})
            except OSError as error:
                _send(client, {"error": {"kind": "Unavailable", "message": f"attach: {error}"}})
            except Exception:
                log.exception("attachment failed")

    async def _hand_over(self, client: socket.socket) -> None:
        start = _request(await asyncio.get_running_loop().sock_recv(client, REQUEST_BYTES))
        container = self._find(start.ref)
        async with self._streams.attachments.attached(container, start) as made:
            self._streams.tell(container.id, "attach")
            names = ["stdout" if k == LOG_STDOUT else "stderr" for k in made.streams.values()]
            answer = {"tty": container.config.spec.tty, "streams": names}
            _send(client, answer, *made.streams)
            if not await _before_it_hangs_up(client, made.connected):
                return
            made.connected.result()
            stdin = [] if made.stdin is None else [made.stdin]
            _send(client, {"stdin": bool(stdin)}, *stdin)
            made.owned.close(*made.streams, *stdin)
            if await asyncio.get_running_loop().sock_recv(client, REQUEST_BYTES):
                await self._end(client, container.id)

    async def _end(self, client: socket.socket, container_id: str) -> None:
        ending = asyncio.ensure_future(self._streams.supervisor.client.wait(container_id))
        try:
            await _before_it_hangs_up(client, ending)
        finally:
            await ended(ending)


async def _before_it_hangs_up(client: socket.socket, future: asyncio.Future[Any]) -> bool:
    """Whether the future is done, whatever its result, before the client has gone."""
    if not future.done():
        gone = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(client, 1))
        try:
            await asyncio.wait((gone, future), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await gone
    return future.done()


def _request(data: bytes) -> AttachInput.Start:
    try:
        said = json.loads(data)
        return AttachInput.Start(stream=True, **said)
    except (ValueError, TypeError) as error:
        raise InvalidSpec(f"attach: {data[:80]!r} is not a request") from error


def _send(client: socket.socket, message: dict[str, Any], *descriptors: int) -> None:
    """A packet, which the empty buffer of a new connection takes whole."""
    socket.send_fds(client, [json.dumps(message).encode()], list(descriptors))


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        made.bind(str(path))
    except OSError:
        made.close()
        raise
    finally:
        os.umask(mask)
    made.listen(BACKLOG)
    made.setblocking(False)
    return made
