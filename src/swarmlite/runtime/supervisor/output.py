"""A container's output: what it writes goes to its log and to every client that is attached.

A stream is read only while everyone takes what it brings: a slow reader slows the container down
(its pipe fills), one that is gone does not. Of each stream a bounded share is read a round, so that
a flood starves nobody else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import struct

from swarmlite.runtime.supervisor.lines import Lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from swarmlite.runtime.supervisor.lines import Log
    from swarmlite.runtime.supervisor.loop import Loop

READ_BYTES = 16 << 10  # a round's share of one stream
MANY_LINES = 256  # a share of so many lines costs as much as a share of long ones: read less then
SMALL_READ_BYTES = 2 << 10
DRAIN_BYTES = 1 << 20  # at most so much when the process has ended: a pipe holds less


class Sink:
    """Where one attached client reads: its pipe's end. Closed when the client or the stream ends.

    `flowing` is called when it takes data again, and when it is gone.
    """

    def __init__(self, loop: Loop, fd: int) -> None:
        self._loop, self._fd = loop, fd
        self._pending = b""
        self._ending = False
        self.flowing: Callable[[], None] = lambda: None
        os.set_blocking(fd, False)
        loop.add(fd, self._ready, 0)  # an error comes when nobody reads any more

    def full(self) -> bool:
        """Whether it has something left to take."""
        return bool(self._pending)

    def gone(self) -> bool:
        """Whether its client has left."""
        return self._fd < 0

    def write(self, data: bytes) -> None:
        """Hand on what can be taken now; the rest is kept."""
        if self._fd < 0:
            return
        if not self._pending:
            data = self._send(data)
        if data:
            self._pending += data
            self._loop.change(self._fd, select.EPOLLOUT)

    def end(self) -> None:
        """No more comes: close it once all was taken."""
        self._ending = True
        if not self._pending:
            self._drop()

    def _send(self, data: bytes) -> bytes:
        """What was not taken."""
        try:
            return data[os.write(self._fd, data) :]
        except BlockingIOError:
            return data
        except OSError:
            self._drop()
            return b""

    def _ready(self, events: int) -> None:
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self._drop()
            return
        self._pending = self._send(self._pending)
        if self._pending or self._fd < 0:
            return
        if self._ending:
            self._drop()
            return
        self._loop.change(self._fd, 0)
        self.flowing()

    def _drop(self) -> None:
        if self._fd < 0:
            return
        self._loop.remove(self._fd)
        os.close(self._fd)
        self._fd, self._pending = -1, b""
        self.flowing()


class Stream:
    """One end of a container's output; `ended` is called at its end of file."""

    def __init__(
        self, loop: Loop, fd: int, name: str, log: Log | None, ended: Callable[[Stream], None]
    ) -> None:
        self.fd, self.name, self._loop, self._ended = fd, name, loop, ended
        self._lines = Lines(name, log) if log is not None else None
        self._sinks: list[Sink] = []
        self._share = READ_BYTES
        self._reading = False
        self._closed = False
        os.set_blocking(fd, False)
        self._flow()

    def attach(self, sink: Sink) -> None:
        """Hand it what is read from now on."""
        sink.flowing = self._flow
        self._sinks.append(sink)

    def _flow(self) -> None:
        """Read, or wait, as those who take it can."""
        if self._closed:
            return
        self._sinks = [sink for sink in self._sinks if not sink.gone()]
        held = any(sink.full() for sink in self._sinks)
        if self._lines is not None and self._lines.full(self._flow):
            held = True
        if held and self._reading:
            self._loop.remove(self.fd)
        elif not held and not self._reading:
            self._loop.add(self.fd, self._ready)
        self._reading = not held

    def _ready(self, _events: int) -> None:
        if not self._read(self._share):
            self._close()
            self._ended(self)

    def _read(self, share: int) -> bool:
        """One share; False at the end of file."""
        try:
            data = os.read(self.fd, share)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno != errno.EIO:  # a pty whose other end is closed
                raise
            data = b""
        if not data:
            return False
        if self._lines is not None:
            many = self._lines.feed(data) > MANY_LINES
            self._share = SMALL_READ_BYTES if many else READ_BYTES
        if self._sinks or self._lines is not None:
            for sink in list(self._sinks):
                sink.write(data)
            self._flow()
        return True

    def finish(self) -> None:
        """The process has ended: take what is left at once, for everyone, and close."""
        total = 0
        while total < DRAIN_BYTES and (left := available(self.fd)) and self._read(READ_BYTES):
            total += min(left, READ_BYTES)
        self._close()

    def _close(self) -> None:
        """Flush the last, unended line; attached clients get to their end of file."""
        self._closed = True
        self._loop.remove(self.fd)
        if self._lines is not None:
            self._lines.flush()
        sinks, self._sinks = self._sinks, []
        for sink in sinks:
            sink.end()


class Output:
    """All streams of one container, its log, and the input that is held open for it."""

    def __init__(self, loop: Loop, log: Log | None) -> None:
        self._loop, self.log = loop, log
        self._streams: dict[str, Stream] = {}
        self.stdin = -1
        self.stdin_once = False
        self.takes_input = False  # as it was asked for; a terminal's goes by its console

    def follow(self, fd: int, name: str) -> None:
        """Read `fd`, which is then its own."""
        self._streams[name] = Stream(self._loop, fd, name, self.log, self._stream_ended)

    def attach(self, name: str, fd: int) -> None:
        """Write to `fd`, from now on its own, what the stream of that name brings."""
        sink = Sink(self._loop, fd)
        stream = self._streams.get(name)
        if stream is None:
            sink.end()
        else:
            stream.attach(sink)

    def give_stdin(self) -> int:
        """A descriptor that writes to its standard input, the receiver's to close; -1 without one.

        With `stdin_once` it is the only one: the input ends when whoever got it is gone.
        """
        if self.stdin < 0:
            return -1
        if not self.stdin_once:
            return duplicate(self.stdin)
        fd, self.stdin = self.stdin, -1
        return fd

    def _stream_ended(self, stream: Stream) -> None:
        if self._streams.get(stream.name) is stream:
            del self._streams[stream.name]
        os.close(stream.fd)

    def close(self) -> None:
        """The container has ended."""
        for stream in list(self._streams.values()):
            with contextlib.suppress(OSError):
                stream.finish()
            self._stream_ended(stream)
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1
        if self.log is not None:
            self.log.close()
            self.log = None


def duplicate(fd: int) -> int:
    """Another number for the same, above those of standard streams."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def available(fd: int) -> int:
    """How many bytes can be read now."""
    data = fcntl.ioctl(fd, 0x541B, b"\0\0\0\0")  # FIONREAD
    return int(struct.unpack("i", data)[0])
