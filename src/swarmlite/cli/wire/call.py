"""One call of gRPC, on a connection of its own."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from swarmlite.cli.wire import frames, hpack
from swarmlite.cli.wire.frames import Frame, Frames, content
from swarmlite.rpc_errors import CANCELLED, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, UNKNOWN

WINDOW = 4 << 20
"""Bytes of messages that wait to be taken, before the server has to wait."""
STEP = 1 << 20
MAX_MESSAGE = 64 << 20
SMALL = 60_000
"""What may be sent before anything is read: the window that HTTP/2 begins with is a little more."""
_PREFIX = struct.Struct(">BI")
_CANCEL = 8

Metadata = Sequence[tuple[bytes, bytes]]


class CallFailed(Exception):
    """A call that ended with a status other than OK."""

    def __init__(self, number: int, details: str) -> None:
        super().__init__(details)
        self.number, self.details = number, details


class Over(Exception):
    """The call has ended; what is to be sent is wanted no longer."""


class Call:
    """Begun when it is made. Iterated, it gives the replies, and raises CallFailed at the end."""

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        method: str,
        reply: Callable[[bytes], Any],
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> None:
        """`method` as /PACKAGE.SERVICE/METHOD; `reply` parses a message. Raises CallFailed, and
        what `connect` raises other than OSError.
        """
        self._reply = reply
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._messages: SimpleQueue[bytes | None] = SimpleQueue()
        self._partial = bytearray()
        self._block = bytearray()
        self._begun, self._over = threading.Event(), False
        self._status: tuple[int, str] | None = None
        self._failure: BaseException | None = None
        self._cancelled = False
        self._room = threading.Condition()
        self._windows = {0: 65535, frames.STREAM: 65535}
        self._initial_window, self._max_frame = 65535, 16384
        self._waiting = self._owed = 0
        try:
            self._socket = connect()
        except OSError as error:
            raise CallFailed(UNAVAILABLE, f"failed to connect: {error}") from error
        try:
            self._socket.settimeout(timeout_s)
            self._frames = Frames(self._socket, WINDOW)
            self._ask(method, timeout_s, metadata)
        except OSError as error:
            self._socket.close()
            raise CallFailed(UNAVAILABLE, f"failed to connect: {error}") from error

    def _ask(self, method: str, timeout_s: float | None, metadata: Metadata) -> None:
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", method.encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        ]
        if timeout_s is not None:
            headers.append((b"grpc-timeout", b"%dm" % min(max(timeout_s * 1000, 1), 99_999_999)))
        headers += metadata
        body = hpack.encode(headers)
        self._frames.send(frames.HEADERS, frames.END_HEADERS, body=body)

    # sending
    def send(self, message: bytes, *, last: bool = False) -> None:
        """One request, which is the last one or not. Raises Over once the call has ended."""
        view = memoryview(_PREFIX.pack(0, len(message)) + message)
        while view:
            part = view[: self._may_send(len(view))]
            view = view[len(part) :]
            self._data(bytes(part), last=last and not view)

    def finish(self) -> None:
        """There are no more requests."""
        self._data(b"", last=True)

    def _data(self, data: bytes, *, last: bool) -> None:
        try:
            self._frames.send(frames.DATA, frames.END_STREAM if last else 0, body=data)
        except OSError as error:
            raise Over from error

    def _may_send(self, wanted: int) -> int:
        with self._room:
            self._room.wait_for(lambda: self._over or min(self._windows.values()) > 0)
            if self._over:
                raise Over
            count = min(wanted, self._max_frame, *self._windows.values())
            for stream in self._windows:
                self._windows[stream] -= count
            return count

    def send_all(self, requests: Iterable[Any]) -> None:
        """Every request; what the iteration raises ends the call."""
        try:
            with contextlib.suppress(Over):
                for request in requests:
                    self.send(request.SerializeToString())
                self.finish()
        except BaseException as error:
            self._failure = error
            self.cancel()
            raise

    def send_behind(self, requests: Iterable[Any]) -> None:
        """`send_all` by a thread of its own, which takes the next when the last one was sent."""

        def work() -> None:
            with contextlib.suppress(Exception):  # who takes the replies hears of it
                self.send_all(requests)

        threading.Thread(target=work, daemon=True).start()

    # receiving
    def read_behind(self) -> None:
        """By a thread: it answers the server's signs of life also while nobody takes replies."""
        self._socket.settimeout(None)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        """Until the end of the call; its status is known then."""
        try:
            while self._status is None:
                frame = self._frames.read()
                if frame is None:
                    break
                self._received(frame)
        except TimeoutError:
            self._status = DEADLINE_EXCEEDED, ""
        except hpack.Unreadable as error:
            self._status = INTERNAL, str(error)
        except (OSError, struct.error):
            pass
        finally:
            self._end()

    def _end(self) -> None:
        if self._status is None:
            cancelled, lost = (CANCELLED, "cancelled"), (UNAVAILABLE, "Socket closed")
            self._status = cancelled if self._cancelled else lost
        with self._room:
            self._over = True
            self._room.notify_all()
        self._begun.set()
        self._messages.put(None)
        self._socket.close()

    def _received(self, frame: Frame) -> None:
        if frame.kind == frames.DATA:
            self._take_data(frame)
        elif frame.kind in (frames.HEADERS, frames.CONTINUATION):
            self._block += content(frame) if frame.kind == frames.HEADERS else frame.body
            if frame.flags & frames.END_HEADERS:
                block, self._block = bytes(self._block), bytearray()
                self._headers(dict(hpack.decode(block)))
        elif frame.kind == frames.SETTINGS and not frame.flags & frames.ACK:
            self._settings(frame.body)
        elif frame.kind == frames.PING and not frame.flags & frames.ACK:
            self._frames.send(frames.PING, frames.ACK, 0, frame.body)
        elif frame.kind == frames.WINDOW_UPDATE:
            with self._room:
                self._windows[frame.stream] += struct.unpack(">I", frame.body)[0] & 0x7FFFFFFF
                self._room.notify_all()
        elif frame.kind == frames.RST_STREAM:
            code = struct.unpack(">I", frame.body)[0]
            self._status = (CANCELLED if code == _CANCEL else INTERNAL), f"reset by server ({code})"
        elif frame.kind == frames.GOAWAY and struct.unpack(">I", frame.body[:4])[0] < frames.STREAM:
            self._status = UNAVAILABLE, "Socket closed"

    def _settings(self, body: bytes) -> None:
        # First of all: a server goes by its new settings once it has our word for them.
        self._frames.send(frames.SETTINGS, frames.ACK, 0)
        for key, value in struct.iter_unpack(">HI", body):
            if key == frames.MAX_FRAME:
                self._max_frame = value
            elif key == frames.INITIAL_WINDOW:
                with self._room:
                    self._windows[frames.STREAM] += value - self._initial_window
                    self._initial_window = value
                    self._room.notify_all()

    def _headers(self, headers: dict[bytes, bytes]) -> None:
        if (number := headers.get(b"grpc-status")) is not None:
            self._status = int(number), _plain(headers.get(b"grpc-message", b""))
        elif headers.get(b":status", b"200") != b"200":
            self._status = UNKNOWN, f"HTTP status {headers[b':status'].decode()}"
        elif b"begun" in headers:  # see rpc.BEGUN: a refusal may send headers of its own first
            self._begun.set()

    def _take_data(self, frame: Frame) -> None:
        self._partial += content(frame)
        while len(self._partial) >= _PREFIX.size:
            compressed, length = _PREFIX.unpack_from(self._partial)
            if compressed or length > MAX_MESSAGE:
                raise hpack.Unreadable(f"a message of {length} bytes, or compressed")
            end = _PREFIX.size + length
            if len(self._partial) < end:
                break
            with self._room:
                self._waiting += length
            self._messages.put(bytes(self._partial[_PREFIX.size : end]))
            del self._partial[:end]
        self._settle(received=len(frame.body))

    def _settle(self, *, received: int = 0, taken: int = 0) -> None:
        """Let the server send on, unless too much waits here."""
        with self._room:
            self._owed += received
            self._waiting -= taken
            if self._over or self._owed < STEP or self._waiting > WINDOW:
                return
            owed, self._owed = self._owed, 0
        with contextlib.suppress(OSError):
            self._frames.taken(owed)

    # what its maker asks
    def initial_metadata(self) -> None:
        """Wait for the server's word that the call is in place. Raises CallFailed if refused."""
        self._begun.wait()
        if self._status is not None and self._status[0]:
            raise CallFailed(*self._status)

    def reply(self) -> Any:
        """The only one, of a call that has one. Raises CallFailed."""
        found = [*self]
        if not found:
            raise CallFailed(INTERNAL, "no reply came")
        return found[0]

    def __iter__(self) -> Iterator[Any]:
        while (message := self._next()) is not None:
            self._settle(taken=len(message))
            yield self._reply(message)
        if self._failure is not None:
            raise self._failure
        if self._status is not None and self._status[0]:
            raise CallFailed(*self._status)

    def _next(self) -> bytes | None:
        try:
            left = None if self._deadline is None else max(self._deadline - time.monotonic(), 0)
            return self._messages.get(timeout=left)
        except Empty:
            self.cancel()
            raise CallFailed(DEADLINE_EXCEEDED, "") from None

    def cancel(self) -> None:
        """End it; safe to repeat, from any thread."""
        if self._over:
            return
        self._cancelled = True
        with contextlib.suppress(OSError):
            self._frames.send(frames.RST_STREAM, body=struct.pack(">I", _CANCEL))
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def _plain(text: bytes) -> str:
    """A status's message, whose bytes beyond ASCII are written as %XX."""
    first, *rest = text.split(b"%")
    parts = [first]
    for part in rest:
        try:
            parts.append(bytes.fromhex(part[:2].decode("ascii")) + part[2:])
        except ValueError:
            parts.append(b"%" + part)
    return b"".join(parts).decode(errors="replace")
