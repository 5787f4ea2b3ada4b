"""Standard streams over a call: what is typed goes up, what a container writes comes down."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from swarmlite.cli import client
from swarmlite.cli.wire.call import CallFailed
from swarmlite.model.detach_keys import Detector
from swarmlite.proto.containers_pb2 import StreamOutput
from swarmlite.proto.control_pb2 import LOG_STDERR

CHUNK_BYTES = 32 * 1024
DETACHED = "read escape sequence"


def write(output: Any) -> None:
    """What a container wrote, to this process's stream of the same name."""
    stream = sys.stderr if output.stream == LOG_STDERR else sys.stdout
    stream.buffer.write(output.data)
    stream.buffer.flush()


class Call(Protocol):
    """A call of gRPC with a stream either way."""

    def initial_metadata(self) -> Any:
        """Waits for the server's first sign."""

    def cancel(self) -> Any:
        """Ends it."""

    def __iter__(self) -> Iterator[StreamOutput]: ...


class Streams:
    """One attachment or exec: `open`, `begin` once the container may read, `show` to the end."""

    def __init__(
        self,
        message: Callable[..., Any],
        first: Any,
        *,
        stdin: bool,
        detach_keys: bytes | None = None,
    ) -> None:
        """`message(stdin=..., stdin_close=...)` makes a request after `first`.

        `detach_keys` are looked for in what is typed, where there is a terminal.
        """
        self._message, self._first, self._stdin = message, first, stdin
        self._detector = Detector(detach_keys) if detach_keys else None
        self._may_read, self._done = threading.Event(), threading.Event()
        self._call: Call | None = None
        self.detached = False
        """Whether the user typed the keys that detach."""

    def open(self, method: Callable[[Iterable[Any]], Call]) -> None:
        """Make the call and wait until it is attached. Raises swarmlite's errors."""
        self._call = method(self._requests())
        try:
            self._call.initial_metadata()
        except CallFailed as error:
            self._done.set()
            raise client.translated(error) from error

    def begin(self) -> None:
        """From now on standard input is read."""
        self._may_read.set()

    def show(self) -> int | None:
        """Write what comes until the end; the exit code, or None when detached or without one."""
        call, code = self._call, None
        assert call is not None
        try:
            for output in client.stream(call):
                if output.data:
                    write(output)
                if output.HasField("exit_code"):
                    code = output.exit_code
        except client.Cancelled:
            if not self.detached:
                raise
        finally:
            self.close()
        return code

    def close(self) -> None:
        """End the call, also when nothing was shown."""
        self._done.set()
        self._may_read.set()
        if self._call is not None:
            self._call.cancel()

    def _requests(self) -> Iterator[Any]:
        # Read by a thread of the call's own, which takes the next one once the last was sent: what
        # is typed waits in the terminal, and not in memory.
        yield from self._opening()
        if self._stdin:
            self._may_read.wait()
            yield from self._typed()
        if not self._done.is_set() and not self.detached:
            yield self._message(stdin_close=True)
        # The end of the requests must not be taken for the end of the call.
        self._done.wait()

    def _opening(self) -> Iterator[Any]:
        """What is sent before anything that is typed."""
        yield self._first

    def _typed(self) -> Iterator[Any]:
        while not self._done.is_set():
            try:
                chunk = os.read(sys.stdin.fileno(), CHUNK_BYTES)
            except (OSError, ValueError):
                return  # closed, or a terminal that hung up
            if not chunk:
                return
            if self._detector is not None:
                chunk, self.detached = self._detector.feed(chunk)
            if chunk:
                yield self._message(stdin=chunk)
            if self.detached:
                assert self._call is not None
                self._call.cancel()
                return
