"""A socket of this machine that is one in a container, over the engine's API.

What speaks to a node, gRPC and Docker's own command too, works through it unchanged, wherever the
engine runs.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from .stream import STDOUT, ExecStream

CHUNK_BYTES = 1 << 16
RELAY = Path(__file__).with_name("relay.py")


class Forward:
    """Listens at `path`, or, without one, at a port of loopback (`port`), until `close`."""

    def __init__(self, open_stream: Callable[[], ExecStream], path: Path | None = None) -> None:
        """`open_stream` starts the relay to the far end; it is called for each connection."""
        self._open = open_stream
        self._path = path
        self._streams: set[ExecStream] = set()
        self._lock = threading.Lock()
        self.port = 0
        self._listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        if path:
            path.unlink(missing_ok=True)
            self._listener.bind(str(path))
        else:
            self._listener.bind(("127.0.0.1", 0))
            self.port = self._listener.getsockname()[1]
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End it and its connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            streams = set(self._streams)
        for stream in streams:
            stream.close()
        if self._path:
            self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                stream = self._open()
            except Exception:  # whatever library says it: the client sees a closed connection
                return
            with self._lock:
                self._streams.add(stream)
            try:
                threading.Thread(target=_upwards, args=(connection, stream), daemon=True).start()
                _downwards(stream, connection)
            finally:
                with self._lock:
                    self._streams.discard(stream)
                stream.close()
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _upwards(connection: socket.socket, stream: ExecStream) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := connection.recv(CHUNK_BYTES):
            stream.send(data)
        stream.end_input()


def _downwards(stream: ExecStream, connection: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):  # ValueError: a reader that was closed
        for kind, data in stream.frames():
            if kind == STDOUT:
                connection.sendall(data)
