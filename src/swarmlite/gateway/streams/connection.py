"""A client's connection: aiohttp's own, and what it becomes when a stream takes it over.

An upgraded connection (attach, exec) is bytes in both directions. Its client may stop writing at
once and go on reading (half-close), which aiohttp, as asyncio, takes for its end; and it may vanish
while nothing is written to it, which only the kernel tells (POLLHUP).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import re
import select
import socket
import sys
import termios
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from swarmlite.errors import FailedPrecondition

HIGH_BYTES = 256 * 1024
"""Of what a client sent and nobody took: above it no more is read from the connection."""
HEAD_S = 30.0
"""So long it may take a client to read the head of an answer, before more is sent."""

_UPGRADE = re.compile(
    rb"(?im)^upgrade:[ \t]*tcp[ \t]*\r?$"
    # What clients of before 2014 ask for: the connection is the stream's without a word of it.
    rb"|\APOST /(?:v[\d.]+/)?(?:containers/[^/ ]+/attach|exec/[^/ ]+/start)/?[? ]"
)
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d{1,9})[ \t]*\r?$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:")


class Connection(RequestHandler):
    """One client's connection, from its first request to its end.

    What follows a request that asks for an upgrade, or for what was always a stream, is the
    stream's, and must not be read as the next request (aiohttp 3.14's parser does so behind a
    body): it is held until it is taken.
    """

    __slots__ = ("_body_left", "_held", "_unwatch", "_upgrading", "ended_early")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._upgrading = False  # a request that asks for it is being answered
        self._body_left = 0  # of that request, in bytes
        self._held = bytearray()
        self.ended_early = False  # half-closed before the stream took over
        self._unwatch: Callable[[], None] = lambda: None

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is over, whoever ended it."""
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """What the client sent: of a request, or of what follows one that upgrades."""
        waiter = self._waiter
        if self._payload_parser is not None or not data:
            # Nothing: aiohttp's own call to go on with a body that it held back (resume_reading).
            super().data_received(data)
            return
        if not self._upgrading and waiter is not None and not waiter.done():
            data = self._begun(data)
        elif self._upgrading:
            data = self._split(data)
        if data:
            super().data_received(data)

    def _begun(self, data: bytes) -> bytes:
        """A request may begin here: what of it is HTTP."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end or not _UPGRADE.search(head) or _CHUNKED.search(head):
            return data
        length = _LENGTH.search(head)
        self._upgrading, self._body_left = True, int(length[1]) if length else 0
        return head + end + self._split(rest)

    def _split(self, data: bytes) -> bytes:
        """What belongs to the request's body; the rest is held."""
        body, rest = data[: self._body_left], data[self._body_left :]
        self._body_left -= len(body)
        self._held += rest
        if len(self._held) > HIGH_BYTES and self.transport is not None:
            self.transport.pause_reading()
        return body

    def take(self, inbox: Inbox) -> None:
        """The stream reads the connection from now on, what is held first."""
        held, self._held = bytes(self._held), bytearray()
        self.set_parser(inbox)  # type: ignore[arg-type]
        self._watch()
        if len(held) > HIGH_BYTES and self.transport is not None:
            self.transport.resume_reading()
        if held:
            inbox.feed_data(held)
        if self.ended_early:
            inbox.feed_eof()

    def decline(self) -> None:
        """No stream came of the request: what follows it is the next one."""
        held, self._held, self._upgrading = bytes(self._held), bytearray(), False
        if self.ended_early:
            self.close()
        elif held:
            super().data_received(held)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client writes no more; True keeps the connection, to write to it."""
        if self._payload_parser is not None:
            self._payload_parser.feed_eof()
            return True
        if self._upgrading:
            self.ended_early = True
            return True
        request, waiter = self._current_request, self._waiter
        busy = waiter is None or waiter.done()
        if busy and (request is None or request.content.is_eof()):
            # It is answered, and then the connection ends; unless the client is gone altogether.
            self.close()
            self._watch()
            return True
        return None

    def _watch(self) -> None:
        if self.transport is not None:
            self._unwatch = _watch_for_hang_up(self.transport)

    async def drained(self) -> None:
        """Until the client has taken enough of what was written. Raises ConnectionError."""
        await self._drain_helper()


class Listener(web.Server):
    """aiohttp's server, with connections of ours."""

    def __call__(self) -> RequestHandler:
        """One for each client that connects."""
        return Connection(self, loop=self._loop, **self._kwargs)


class Inbox(Protocol):
    """Who takes what comes in on a connection that was taken over."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """It came; `(False, b"")`."""

    def feed_eof(self) -> None:
        """The client writes no more."""


class _Inbox:
    """What comes in on a connection that was taken over; aiohttp feeds it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._chunks = bytearray()
        self._ended = False
        self._paused = False
        self._wake = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._chunks += data
        if len(self._chunks) > HIGH_BYTES and not self._paused:
            self._paused = True
            with contextlib.suppress(RuntimeError, NotImplementedError):
                self._transport.pause_reading()
        self._wake.set()
        return False, b""

    def feed_eof(self) -> None:
        self._ended = True
        self._wake.set()

    async def read(self) -> bytes:
        while not self._chunks and not self._ended:
            self._wake.clear()
            await self._wake.wait()
        data = bytes(self._chunks)
        self._chunks.clear()
        if self._paused and not self._transport.is_closing():
            self._paused = False
            with contextlib.suppress(RuntimeError, NotImplementedError):
                self._transport.resume_reading()
        return data


class Hijacked(web.StreamResponse):
    """The answer of a request whose connection was taken over: bytes in both directions.

    Enter it as a context: the end of the block ends the connection, once all is written. A client
    that vanishes cancels the task that is inside.
    """

    def __init__(self, request: web.BaseRequest) -> None:
        """Nothing is sent yet."""
        super().__init__()
        connection, transport = request.protocol, request.transport
        if not isinstance(connection, Connection) or transport is None:
            raise ConnectionResetError("the client has gone")
        self._connection, self._transport = connection, transport
        self._inbox = _Inbox(transport)
        self._holds = self.head_is_read = False

    def take(self, head: bytes, inbox: Inbox | None = None) -> None:
        """Send the head of the answer, and read the connection from now on: `read`, or `inbox`."""
        self._transport.write(head)
        self._connection.take(self._inbox if inbox is None else inbox)

    async def read(self) -> bytes:
        """What came; empty once the client writes no more."""
        return await self._inbox.read()

    async def write(self, data: Any) -> None:
        """Returns once the client takes enough. Raises ConnectionError."""
        if not self.head_is_read:
            await self.head_read()
        self.send(data)
        await self.drained()

    async def head_read(self) -> None:
        """Until the client has read the head, so that what follows comes by itself.

        docker-py reads on behind the buffer that it reads the head into: what was in it is lost.
        Docker takes so long to begin that this never shows.
        """
        found: socket.socket | None = self._transport.get_extra_info("socket")
        deadline = asyncio.get_running_loop().time() + HEAD_S
        wait_s = 0.0
        while found is not None and asyncio.get_running_loop().time() < deadline:
            if self._transport.is_closing() or not _unread(found):
                break
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s + 0.001, 0.05)
        self.head_is_read = True

    def send(self, data: Any) -> None:
        """Whether the client takes it or not: see `full`. Raises ConnectionError."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)

    @property
    def full(self) -> bool:
        """Whether the client has yet to take enough of what was sent."""
        return self._connection.writing_paused

    async def drained(self) -> None:
        """Once it has. Raises ConnectionError."""
        await self._connection.drained()

    def hold(self) -> None:
        """Take no more from the client for now."""
        if not self._holds and not self._transport.is_closing():
            self._holds = True
            with contextlib.suppress(RuntimeError):
                self._transport.pause_reading()

    def go_on(self) -> None:
        """Take on what it sends."""
        if self._holds and not self._transport.is_closing():
            self._holds = False
            with contextlib.suppress(RuntimeError):
                self._transport.resume_reading()

    # What aiohttp does with an answer: this one was sent already.
    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to be sent."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be sent."""

    @property
    def keep_alive(self) -> bool:
        """The connection carries no other request."""
        return False


class _HangUps:
    """One epoll of the process that hears only of clients which are gone altogether."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._transports: dict[int, asyncio.Transport] = {}
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._heard)

    def watch(self, transport: asyncio.Transport) -> Callable[[], None]:
        """Abort the transport when its client is gone; what is returned ends the watch."""
        found: socket.socket | None = transport.get_extra_info("socket")
        descriptor = -1 if found is None else found.fileno()
        if descriptor < 0:
            return lambda: None
        with contextlib.suppress(OSError):
            # No events are asked for: EPOLLHUP and EPOLLERR are told always.
            self._epoll.register(descriptor, 0)
            self._transports[descriptor] = transport

        def forget() -> None:
            if self._transports.pop(descriptor, None) is not None:
                with contextlib.suppress(OSError, ValueError):
                    self._epoll.unregister(descriptor)

        return forget

    def _heard(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            transport = self._transports.pop(descriptor, None)
            with contextlib.suppress(OSError, ValueError):
                self._epoll.unregister(descriptor)
            if transport is not None:
                transport.abort()


_hang_ups: dict[asyncio.AbstractEventLoop, _HangUps] = {}


def _watch_for_hang_up(transport: asyncio.Transport) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    if loop not in _hang_ups:
        _hang_ups[loop] = _HangUps()
    return _hang_ups[loop].watch(transport)


def _unread(client: socket.socket) -> int:
    """What of all that was sent lies there yet; unix(7) calls it SIOCOUTQ, and TCP cannot tell."""
    if client.family != socket.AF_UNIX:
        return 0
    return int.from_bytes(fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def wants_upgrade(request: web.BaseRequest) -> bool:
    """Whether the client asks for 101, as all do that are not very old."""
    return (
        "upgrade" in request.headers.get("Connection", "").lower()
        and request.headers.get("Upgrade", "").lower() == "tcp"
    )


def head(request: web.BaseRequest, content_type: str) -> bytes:
    """The head of a hijacked answer: 101 where an upgrade was asked for, else 200."""
    if wants_upgrade(request):
        lines = ("HTTP/1.1 101 UPGRADED", "Connection: Upgrade", "Upgrade: tcp")
    else:
        lines = ("HTTP/1.1 200 OK", "Connection: close", "Cache-Control: no-cache")
    return "\r\n".join((*lines, f"Content-Type: {content_type}", "", "")).encode()


def not_a_stream() -> FailedPrecondition:
    """For requests that name no stream."""
    return FailedPrecondition("neither stdin, stdout nor stderr is asked for")
