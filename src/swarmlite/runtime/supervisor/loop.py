"""The event loop: epoll, timers, signals, and the clients' connections."""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import signal
import socket
import struct
import time

from swarmlite.runtime.supervisor import protocol

READ = select.EPOLLIN
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BACKLOG_BYTES = 64 << 20


class Timer:
    """Something to be done later."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """It will not be done; what it held is let go at once. Safe to repeat."""
        self.callback = None


class Loop:
    """Calls what was registered: a descriptor is readable, a time has come, a signal came."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.add(self._wake_reader, self._signalled)
        self.on_signal: dict[int, Callable[[], None]] = {}
        self.stopping = False

    def add(self, fd: int, callback: Callable[[int], None], events: int = READ) -> None:
        """`callback(events)` whenever `fd` is ready."""
        self._readers[fd] = callback
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Wait for other events."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Before it is closed; safe to repeat."""
        if self._readers.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """`callback()` once, after a while, unless the timer was cancelled."""
        self._count += 1
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._count, timer))
        return timer

    def handle_signal(self, number: int, callback: Callable[[], None]) -> None:
        """`callback()` from the loop, some time after the signal."""
        self.on_signal[number] = callback
        signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)

    def _signalled(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in set(os.read(self._wake_reader, 4096)):
                if number in self.on_signal:
                    self.on_signal[number]()

    def run(self) -> None:
        """Until `stopping`."""
        while not self.stopping:
            timeout = -1.0
            if self._timers:
                timeout = max(0.0, self._timers[0][0] - time.monotonic())
            for fd, events in self._epoll.poll(timeout):
                callback = self._readers.get(fd)
                if callback is not None:  # an earlier one of this round may have removed it
                    _guarded(callback, events)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                timer = heapq.heappop(self._timers)[2]
                if timer.callback is not None:
                    _guarded(timer.callback)


def _guarded(callback: Callable[..., None], *arguments: object) -> None:
    """A mistake in one container's handling is reported; it must not end all the others."""
    try:
        callback(*arguments)
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
        with contextlib.suppress(OSError):
            os.write(2, f"swarmlite-supervisor: {where}: {error!r}\n".encode())


class Client:
    """One connection: requests in, answers and events out; who does not read is dropped."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        handle: Callable[[Client, dict[str, object], list[int]], None],
        gone: Callable[[Client], None],
    ) -> None:
        self.loop, self.sock, self._handle, self._gone = loop, sock, handle, gone
        self.subscribed = False
        self._decoder = protocol.Decoder()
        self._fds: list[int] = []
        self._out: list[tuple[bytes, list[int]]] = []
        self._backlog = 0
        self._waits_to_write = False
        self.closed = False
        loop.add(sock.fileno(), self._ready)

    def send(self, message: dict[str, object], fds: list[int] | None = None) -> None:
        """Queue one message; `fds` are closed once they are sent."""
        if self.closed:
            for fd in fds or ():
                os.close(fd)
            return
        if fds:
            message["fds"] = len(fds)
        data = protocol.encode(message)
        self._out.append((data, fds or []))
        self._backlog += len(data)
        if self._backlog > MAX_BACKLOG_BYTES:
            self.close()
        else:
            self._flush()

    def _flush(self) -> None:
        while self._out:
            data, fds = self._out[0]
            try:
                sent = socket.send_fds(self.sock, [data], fds) if fds else self.sock.send(data)
            except BlockingIOError:
                if not self._waits_to_write:
                    self._waits_to_write = True
                    self.loop.change(self.sock.fileno(), READ | select.EPOLLOUT)
                return
            except OSError:
                self.close()
                return
            for fd in fds:
                os.close(fd)
            self._backlog -= sent
            if sent == len(data):
                self._out.pop(0)
            else:
                self._out[0] = (data[sent:], [])
        if self._waits_to_write:
            self._waits_to_write = False
            self.loop.change(self.sock.fileno(), READ)

    def _ready(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._flush()
        if self.closed or not events & ~select.EPOLLOUT:
            return
        try:
            data, fds, _, _ = socket.recv_fds(
                self.sock, 1 << 16, protocol.MAX_FDS, socket.MSG_CMSG_CLOEXEC
            )
            self._fds += fds
            messages = self._decoder.feed(data) if data else None
        except BlockingIOError:
            return
        except (OSError, protocol.ProtocolError):
            messages = None
        if messages is None:
            self.close()
            return
        for message in messages:
            count = message.get("fds", 0)
            if not isinstance(count, int) or not 0 <= count <= protocol.MAX_FDS:
                count = message["fds"] = 0
            # Fewer came than were sent when there are no numbers left: the handler says so.
            fds, self._fds = self._fds[:count], self._fds[count:]
            self._handle(self, message, fds)

    def close(self) -> None:
        """Its containers go on."""
        if self.closed:
            return
        self.closed = True
        self.loop.remove(self.sock.fileno())
        self.sock.close()
        for fd in [*self._fds, *(fd for _, fds in self._out for fd in fds)]:
            os.close(fd)
        self._gone(self)


def is_root(sock: socket.socket) -> bool:
    """Whether the peer of a unix socket is root, by the kernel's word."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return bool(struct.unpack("3i", credentials)[1] == 0)
