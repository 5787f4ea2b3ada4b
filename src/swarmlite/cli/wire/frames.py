"""Frames of HTTP/2 on a socket: packed, sent whole, and read."""

from __future__ import annotations

import socket
import struct
import threading
from typing import NamedTuple

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
INITIAL_WINDOW, MAX_FRAME = 4, 5
STREAM = 1
"""The only one of a connection."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADER_TABLE, _PUSH = 1, 2
_DEFAULT_WINDOW = 65535


class Frame(NamedTuple):
    """One frame; `stream` is 0 for the connection's own."""

    kind: int
    flags: int
    stream: int
    body: bytes


class Frames:
    """Both directions of one connection; sent by any thread, read by one."""

    def __init__(self, connection: socket.socket, window: int) -> None:
        """Greets; `window`: what may be sent to us before we say that we have taken it."""
        self._socket = connection
        self._sending = threading.Lock()
        self._received = bytearray()
        settings = ((_HEADER_TABLE, 0), (_PUSH, 0), (INITIAL_WINDOW, window))
        body = b"".join(struct.pack(">HI", *setting) for setting in settings)
        more = struct.pack(">I", window - _DEFAULT_WINDOW)
        greeting = PREFACE + _packed(SETTINGS, 0, 0, body) + _packed(WINDOW_UPDATE, 0, 0, more)
        connection.sendall(greeting)

    def send(self, kind: int, flags: int = 0, stream: int = STREAM, body: bytes = b"") -> None:
        """One frame, whole. Raises OSError."""
        with self._sending:
            self._socket.sendall(_packed(kind, flags, stream, body))

    def taken(self, count: int) -> None:
        """So many bytes more may be sent to us. Raises OSError."""
        more = struct.pack(">I", count)
        with self._sending:
            self._socket.sendall(
                _packed(WINDOW_UPDATE, 0, 0, more) + _packed(WINDOW_UPDATE, 0, STREAM, more)
            )

    def read(self) -> Frame | None:
        """The next one; None when the other side has gone. Raises OSError, TimeoutError."""
        if not self._fill(9):
            return None
        high, low, kind, flags, stream = struct.unpack(">BHBBI", self._received[:9])
        length = high << 16 | low
        if not self._fill(9 + length):
            return None
        body = bytes(self._received[9 : 9 + length])
        del self._received[: 9 + length]
        return Frame(kind, flags, stream & 0x7FFFFFFF, body)

    def _fill(self, length: int) -> bool:
        while len(self._received) < length:
            data = self._socket.recv(max(1 << 16, length - len(self._received)))
            if not data:
                return False
            self._received += data
        return True


def _packed(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">BHBBI", len(body) >> 16, len(body) & 0xFFFF, kind, flags, stream) + body


def content(frame: Frame) -> bytes:
    """The body without padding and priority."""
    body = frame.body
    if frame.flags & PADDED:
        body = body[1 : len(body) - body[0]]
    return body[5:] if frame.kind == HEADERS and frame.flags & PRIORITY else body
