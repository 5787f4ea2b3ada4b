"""A command in a container with its three streams, over Docker's API."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

STDOUT, STDERR = 1, 2
EXIT_S = 10.0
_HEADER = struct.Struct(">BxxxI")


class ExecStream:
    """`send` its input, then `end_input`; `frames` is what it says; then `exit_code`.

    Safe to use from two threads, one a direction; `close` ends both.
    """

    def __init__(
        self,
        client: Any,
        container: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it. Raises docker.errors.APIError, and OSError where the engine is away."""
        self._api = client.api
        options = {"stdin": True, "environment": dict(environment or {})}
        self._id = self._api.exec_create(container, list(command), **options)["Id"]
        self._raw = self._api.exec_start(self._id, socket=True)
        # The library hands out the bare socket; what came with the head of the answer is in the
        # reader that it leaves behind.
        self._response = self._raw._response
        self._reader = self._response.raw._fp.fp
        self._socket: socket.socket = getattr(self._raw, "_sock", self._raw)

    def send(self, data: bytes) -> None:
        """Input. Raises OSError."""
        self._socket.sendall(data)

    def end_input(self) -> None:
        """No more of it. Over TLS there is no such word, and the command's input stays open."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """STDOUT or STDERR, and what was written, until the end."""
        while head := self._reader.read(_HEADER.size):
            if len(head) < _HEADER.size:
                return
            kind, length = _HEADER.unpack(head)
            yield kind, self._reader.read(length)

    @property
    def exit_code(self) -> int:
        """Of the command, which has ended."""
        deadline = time.monotonic() + EXIT_S
        while True:
            # Its output can be at its end before the engine has seen the command's.
            shown = self._api.exec_inspect(self._id)
            if not shown["Running"] or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        return -1 if shown["ExitCode"] is None else int(shown["ExitCode"])

    def close(self) -> None:
        """Let go of the connection; what reads or writes it ends."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._response.close()
        self._raw.close()
