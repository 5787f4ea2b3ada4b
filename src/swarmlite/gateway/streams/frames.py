"""Standard output and standard error in one stream of bytes, as Docker's clients take it apart.

Without a terminal each piece has a header of eight bytes: the stream (1 output, 2 error), three
zeros, and the length, big-endian. With a terminal there is one stream, without headers.
"""

from __future__ import annotations

import struct

from swarmlite.gateway.versions import Version
from swarmlite.proto.control_pb2 import LOG_STDERR, LogStream

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_HEADER = struct.Struct(">BxxxI")


def content_type(version: Version, *, tty: bool) -> str:
    """What the answer says of itself; before 1.42 it was raw in any case."""
    return RAW if tty or version < (1, 42) else MULTIPLEXED


def frames(stream: LogStream.ValueType, data: bytes, *, tty: bool) -> bytes:
    """A piece of a log, which may hold many lines, each line in a frame of its own."""
    if tty or data.find(b"\n", 0, -1) < 0:
        return frame(stream, data, tty=tty)
    number, pack = 2 if stream == LOG_STDERR else 1, _HEADER.pack
    lines = data.splitlines(keepends=True) if b"\r" not in data else _lines(data)
    return b"".join([pack(number, len(line)) + line for line in lines])


def _lines(data: bytes) -> list[bytes]:
    *whole, rest = data.split(b"\n")
    return [*(line + b"\n" for line in whole), *([rest] if rest else [])]


def frame(stream: LogStream.ValueType, data: bytes, *, tty: bool) -> bytes:
    """One piece as it is sent."""
    if tty or not data:
        return data
    return _HEADER.pack(2 if stream == LOG_STDERR else 1, len(data)) + data
