"""Attachments and execs whose descriptors go to who asks: what flows costs no message of ours.

A connection of the socket (SOCK_SEQPACKET, JSON) is one of them. To attach the client says `{"ref",
"stdin", "stdout", "stderr"}`, and is answered `{"tty", "streams": ["stdout", ...]}` with the ends
of their pipes to read from, once nothing can be missed any more. When the container's process is
there, `{"stdin": BOOL}` comes, with the descriptor of its input if that is true. Who asks by
another packet, of any kind, hears of the process's end: the connection ends.

For an exec it says `{"exec": ID}` of one that was created, or `{"exec": {...}}` with the fields of
an ExecConfig, and is answered once that runs: `{"exec": ID, "tty", "streams", "stdin",
"detach_keys"}`, with the ends to read from and that of its input, if it is open, behind them. Then
comes `{"exit_code": N}`, and the connection ends; what else writes to its streams goes on.

Who has attached without the engine says `{"attached": ID}`, as often as that happens, and hears
nothing: it is for the events.

Any answer may be `{"error": {"kind", "message"}}` in place of that, kind a class of
swarmlite.errors.

A client that hangs up before its process is there takes its attachment with it. Afterwards its
descriptors are all that there is, and they outlive this process. Of an exec the output is read on
and dropped here when its client hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from swarmlite.engine import bundles
from swarmlite.engine.io.pumps import ended
from swarmlite.engine.io.service import Streams
from swarmlite.engine.records import Record
from swarmlite.errors import InvalidSpec, NotFound, SwarmliteError
from swarmlite.proto.containers_pb2 import AttachInput, Container, ExecConfig
from swarmlite.proto.control_pb2 import LOG_STDOUT, LogStream

log = logging.getLogger(__name__)

REQUEST_BYTES = 128 * 1024
"""A command and its environment; what is longer goes by gRPC."""
BACKLOG = 1024
AT_ONCE = 64
"""Connections that are taken before others have their turn."""
FULL_S = 0.1
"""Until the next try, when this process has no descriptors left."""


class Handing:
    """The socket; `run` answers on it."""

    def __init__(self, path: Path, streams: Streams, find: Callable[[str], Record]) -> None:
        """`find` looks a container up by a user's reference: raises NotFound, InvalidSpec."""
        self._path, self._streams, self._find = path, streams, find
        self._full: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Until cancelled. Raises OSError where the socket cannot be made."""
        loop = asyncio.get_running_loop()
        with _listening(self._path) as listener:
            try:
                async with asyncio.TaskGroup() as group:
                    loop.add_reader(listener.fileno(), self._accept, listener, group)
                    await loop.create_future()
            finally:
                loop.remove_reader(listener.fileno())
                if self._full is not None:
                    self._full.cancel()

    def _accept(self, listener: socket.socket, group: asyncio.TaskGroup) -> None:
        for _ in range(AT_ONCE):
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("attachment refused error=%s", error)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listener.fileno())
                self._full = loop.call_later(
                    FULL_S, loop.add_reader, listener.fileno(), self._accept, listener, group
                )
                return
            group.create_task(self._served(client))

    async def _served(self, client: socket.socket) -> None:
        client.setblocking(False)
        with client, contextlib.suppress(OSError):  # it has gone
            try:
                await self._answer(client)
            except SwarmliteError as error:
                kind = type(error).__name__
                _send(client, {"error": {"kind": kind, "message": str(error)}})
            except OSError as error:
                _send(client, {"error": {"kind": "Unavailable", "message": f"attach: {error}"}})
            except Exception:
                log.exception("attachment failed")

    async def _answer(self, client: socket.socket) -> None:
        data = await asyncio.get_running_loop().sock_recv(client, REQUEST_BYTES)
        said = _said(data)
        if "attached" in said:
            await self._told(client, said)
        elif "exec" in said:
            exec_id, container = self._exec(said["exec"])
            if "console" in said:
                self._streams.execs.sized(exec_id, said["console"])
            await self._run(client, exec_id, container)
        else:
            await self._attach(client, _start(said))

    async def _attach(self, client: socket.socket, start: AttachInput.Start) -> None:
        container = self._find(start.ref).message
        async with self._streams.attachments.attached(container, start) as made:
            self._streams.tell(container.id, "attach")
            answer = {"tty": container.config.spec.tty, "streams": _names(made.streams)}
            _send(client, answer, *made.streams)
            if not await _before_it_hangs_up(client, made.connected):
                return
            made.connected.result()
            stdin = [] if made.stdin is None else [made.stdin]
            _send(client, {"stdin": bool(stdin)}, *stdin)
            made.owned.close(*made.streams, *stdin)
            if await asyncio.get_running_loop().sock_recv(client, REQUEST_BYTES):
                await self._end(client, container.id, made.created_at)

    async def _told(self, client: socket.socket, said: dict[str, Any]) -> None:
        while True:
            with contextlib.suppress(NotFound):  # removed meanwhile
                self._streams.tell(self._find(str(said.get("attached"))).message.id, "attach")
            data = await asyncio.get_running_loop().sock_recv(client, REQUEST_BYTES)
            if not data:
                return
            said = _said(data)

    async def _end(
        self, client: socket.socket, container_id: str, created_at: float | None
    ) -> None:
        supervisor = self._streams.supervisor.client
        ending = asyncio.ensure_future(supervisor.wait(container_id, created_at))
        try:
            await _before_it_hangs_up(client, ending)
        finally:
            await ended(ending)

    def _exec(self, said: Any) -> tuple[str, Container]:
        """Its id, and the container that it is for."""
        execs = self._streams.execs
        if isinstance(said, str):
            return said, self._find(execs.container_of(said)).message
        config = _config(said)
        record = self._find(config.container)
        return execs.create(record.message, bundles.of(record), config), record.message

    async def _run(self, client: socket.socket, exec_id: str, container: Container) -> None:
        async with self._streams.execs.opened(exec_id, container) as made:
            config = made.execution.config
            answer = {"exec": exec_id, "tty": config.tty, "streams": _names(made.streams)}
            answer |= {"stdin": made.stdin is not None, "detach_keys": config.detach_keys}
            stdin = [] if made.stdin is None else [made.stdin]
            _send(client, answer, *made.streams, *stdin)
            made.owned.close(*stdin)
            if await _before_it_hangs_up(client, made.end):
                _send(client, {"exit_code": made.execution.exit_code})


async def _before_it_hangs_up(client: socket.socket, future: asyncio.Future[Any]) -> bool:
    """Whether the future is done, whatever its result, before the client has gone."""
    if not future.done():
        loop = asyncio.get_running_loop()
        either: asyncio.Future[None] = loop.create_future()

        def wake(_: object = None) -> None:
            if not either.done():
                either.set_result(None)

        loop.add_reader(client.fileno(), wake)
        future.add_done_callback(wake)
        try:
            await either
        finally:
            loop.remove_reader(client.fileno())
            future.remove_done_callback(wake)
    return future.done()


def _names(streams: Mapping[int, LogStream.ValueType]) -> list[str]:
    return ["stdout" if kind == LOG_STDOUT else "stderr" for kind in streams.values()]


def _said(data: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(data)
        if isinstance(said, dict):
            return said
    raise InvalidSpec(f"attach: {data[:80]!r} is not a request")


def _start(said: dict[str, Any]) -> AttachInput.Start:
    try:
        return AttachInput.Start(stream=True, **said)
    except (ValueError, TypeError) as error:
        raise InvalidSpec(f"attach: {str(said)[:80]} is not a request: {error}") from error


def _config(said: Any) -> ExecConfig:
    try:
        return ExecConfig(**said)
    except (ValueError, TypeError) as error:
        raise InvalidSpec(f"exec: {str(said)[:80]} is not a request: {error}") from error


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
