"""Logs that leave the supervisor: to journald or to a syslog server, over one socket a container.

Nothing here waits. While the other side takes no more, a blocking log holds its container's streams
for a while (their pipes fill); after that, or when it is not blocking, what exceeds the buffer is
dropped, which is said once. A copy in a file, if there is one, keeps every line.
"""

from __future__ import annotations

import errno
import select
import socket
from collections import deque

from swarmlite.runtime.supervisor.lines import Log
from swarmlite.runtime.supervisor.logfiles import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from swarmlite.runtime.supervisor.loop import Loop
    from swarmlite.runtime.supervisor.remoteformats import Format

HOLD_BYTES = 256 << 10  # a blocking log holds its streams from here on
PATIENCE_S = 10.0  # and no longer than this without anything being taken
RETRY_S = 1.0
CLOSE_S = 5.0  # so long the last lines are tried after the container's end


class RemoteLog(Log):
    """`form` makes messages and sockets; `file`, which is then its own, keeps a copy."""

    def __init__(
        self, loop: Loop, form: Format, file: Log | None, blocking: bool, max_buffer_bytes: int
    ) -> None:
        self._loop, self._form, self._file = loop, form, file
        self._blocking = blocking
        self._limit = HOLD_BYTES if blocking else max_buffer_bytes
        self._queue: deque[bytes] = deque()
        self._queued = self._sent = 0  # bytes waiting; and those of the first message that went
        self._sock: socket.socket | None = None
        self._connecting = False
        self._retrying = False
        self._flowing: list[Callable[[], None]] = []
        self._progress = 0  # of the whole log: rises with every message that went
        self._impatient = False
        self._lost = 0
        self._complained = False
        self._closed = False

    def open(self) -> None:
        """Connect; OSError when the other side is on this host and not there."""
        self._connect()

    # in
    def write(self, stream: str, lines: list[bytes]) -> None:
        """Queue them, and send what can be."""
        if self._file is not None:
            self._file.write(stream, lines)
        holding = self._blocking and not self._impatient
        for count, message in enumerate(self._form.encode(stream, lines)):
            if not holding and self._queued + len(message) > self._limit:
                self._lose(len(lines) - count)
                break
            self._queue.append(message)
            self._queued += len(message)
        self._flush()

    def full(self, flowing: Callable[[], None]) -> bool:
        """While blocking, and patient, and above the mark."""
        if not self._blocking or self._impatient or self._queued <= HOLD_BYTES:
            return False
        if not self._flowing:
            progress = self._progress
            self._loop.later(PATIENCE_S, lambda: self._lose_patience(progress))
        if flowing not in self._flowing:
            self._flowing.append(flowing)
        return True

    def _lose_patience(self, progress: int) -> None:
        if not self._flowing or self._closed:
            return
        if self._progress != progress:
            now = self._progress
            self._loop.later(PATIENCE_S, lambda: self._lose_patience(now))
            return
        self._impatient = True
        self._complain(f"takes nothing for {PATIENCE_S:g} s")
        self._flow()

    def _flow(self) -> None:
        flowing, self._flowing = self._flowing, []
        for callback in flowing:
            callback()

    # out
    def _flush(self) -> None:
        while self._queue:
            if self._sock is None and not self._reconnect():
                return
            if self._connecting or self._sock is None:
                return
            try:
                self._sent += self._sock.send(self._queue[0][self._sent :])
            except BlockingIOError:
                self._loop.change(self._sock.fileno(), select.EPOLLOUT)
                return
            except OSError as error:
                if not self._survives(error):
                    return
                continue
            if self._sent >= len(self._queue[0]) or not self._form.stream:
                self._taken()
        if self._closed:
            self._end()

    def _taken(self) -> None:
        self._drop_first()
        self._progress += 1
        if self._queued > HOLD_BYTES // 2:
            return
        self._impatient = False
        if self._complained:
            say(f"{self._form.name}: takes lines again, {self._lost} were dropped")
            self._lost, self._complained = 0, False
        if self._flowing:
            self._flow()

    def _drop_first(self) -> None:
        self._queued -= len(self._queue.popleft())
        self._sent = 0

    def _survives(self, error: OSError) -> bool:
        """Whether the socket is good for the next message; this one is lost then."""
        if error.errno == errno.EMSGSIZE or self._form.lossy:
            self._drop_first()
            self._lose(1)
            return True
        self._break(error)
        return False

    def _lose(self, count: int) -> None:
        self._lost += count
        self._complain("takes too little: lines are dropped")

    def _complain(self, what: str) -> None:
        if not self._complained:
            say(f"{self._form.name}: {what}")
        self._complained = True

    # the connection
    def _connect(self) -> None:
        sock, self._connecting = self._form.connect()
        self._sock = sock
        self._loop.add(sock.fileno(), self._ready, select.EPOLLOUT if self._connecting else 0)

    def _reconnect(self) -> bool:
        if self._retrying:
            return False
        try:
            self._connect()
        except OSError as error:
            self._break(error)
            return False
        return True

    def _break(self, error: OSError) -> None:
        """The connection is gone: what it did not take whole is sent again by the next one."""
        self._disconnect()
        self._complain(f"cannot be written to: {error.strerror or error}")
        if self._queue and not self._retrying:
            self._retrying = True
            self._loop.later(RETRY_S, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        self._flush()

    def _disconnect(self) -> None:
        if self._sock is not None:
            self._loop.remove(self._sock.fileno())
            self._sock.close()
        self._sock, self._connecting, self._sent = None, False, 0

    def _ready(self, events: int) -> None:
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code or events & (select.EPOLLERR | select.EPOLLHUP):
            if self._form.lossy:
                return  # nobody listens on a datagram's port just now
            self._break(OSError(code or errno.EPIPE, "the other side closed the connection"))
            return
        self._connecting = False
        self._loop.change(self._sock.fileno(), 0)
        self._flush()

    # the end
    def close(self) -> None:
        """The last lines are tried for a while, without anyone waiting for it."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._closed = True
        self._flowing = []
        if self._queue:
            self._loop.later(CLOSE_S, self._end)
            self._flush()
        else:
            self._end()

    def _end(self) -> None:
        if self._queue:
            say(f"{self._form.name}: the last {len(self._queue)} lines were dropped")
            self._queue.clear()
        self._disconnect()
