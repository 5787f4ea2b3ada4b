"""Redis's protocol (RESP 2), as much of it as these applications need."""

import socket
from types import TracebackType
from typing import Self

Reply = str | int | None | list["Reply"]


class RedisError(Exception):
    """Redis answered with an error, or not in its protocol."""


class Redis:
    """A connection; a context manager. Raises OSError and RedisError."""

    def __init__(self, host: str, port: int = 6379, timeout_s: float = 5) -> None:
        self._socket = socket.create_connection((host, port), timeout_s)
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
        self._socket.close()

    def command(self, *words: str) -> Reply:
        """Send one command and read its reply."""
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            data = word.encode()
            parts.append(f"${len(data)}\r\n".encode() + data + b"\r\n")
        self._socket.sendall(b"".join(parts))
        return self._reply()

    def wait_at_most(self, timeout_s: float) -> None:
        """How long a reply may take from now on."""
        self._socket.settimeout(timeout_s)

    def _reply(self) -> Reply:
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise RedisError("the connection was closed")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RedisError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return None if int(rest) < 0 else [self._reply() for _ in range(int(rest))]
        raise RedisError(f"an unknown reply: {line[:40]!r}")

    def _bulk(self, length: int) -> str | None:
        if length < 0:
            return None
        data = self._stream.read(length + 2)
        if len(data) < length + 2:
            raise RedisError("the connection was closed")
        return data[:-2].decode()
