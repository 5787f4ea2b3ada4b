"""The supervisor's side of the forking process, and the children that it keeps ready.

A child that waits is worth a fork's time to the next start or exec, and costs a process, its
namespaces and half a megabyte. So there are few, only once these come one after the other, and not
for long:
what they were born with (limits, sysctls of a new network namespace) is the host's of then.
"""

from __future__ import annotations

import errno
import marshal
import os
import socket
import struct
import time

from swarmlite.runtime import lean
from swarmlite.runtime.supervisor.kits import Key
from swarmlite.runtime.supervisor.logfiles import say
from swarmlite.runtime.supervisor.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PARKED = 2
PARKED_FOR_S = 20.0
PATIENCE_S = 10  # a fork takes milliseconds
BEHIND_S, SETTLED_S = 0.025, 0.002
"""Behind a start that is the only one on its way the next child is made once what was started has
ended (and a little later), or after so long: a fork with its copies takes as much of the processor
as what it would compete with.
"""
CHANNEL = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def make_channel() -> tuple[socket.socket, socket.socket]:
    """Ours and the child's; the child's blocks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, CHANNEL)
    theirs.setblocking(True)
    return ours, theirs


class Parked:
    """A child, the socket to it, and what it was born with; `pid` is 0 until that is known."""

    def __init__(self, flags: int, channel: socket.socket) -> None:
        self.flags, self.channel = flags, channel
        self.pid = 0
        self.since = time.monotonic()


class Parking:
    """Children to be had; whatever raises OSError leaves the supervisor to fork by itself."""

    def __init__(self, loop: Loop, pid: int, channel: lean.Socket) -> None:
        self._loop, self.pid = loop, pid
        self._channel: lean.Socket | None = channel
        self._parked: list[Parked] = []
        self._asked: list[Parked] = []  # in the order of the answers to come
        self._last_start, self._last_flags = 0.0, -1
        self._behind: dict[int, Callable[[], None]] = {}  # by the pid of what was started
        self._looks_again = False
        limit = struct.pack("ll", PATIENCE_S, 0)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        loop.add(channel.fileno(), lambda _events: self._answered())

    def take(self, flags: int, kit: list[Key] | None, cgroup: int = -1) -> Parked:
        """A child in new namespaces of these flags, in a cgroup if one is given; OSError."""
        try:
            while self._asked and (cgroup >= 0 or not self._with(flags)):
                self._hear()
            found = self._with(flags) if cgroup < 0 else None
            if found is None:
                self._ask(flags, kit, cgroup)
                found = self._hear()
        except OSError as error:
            self._lost(error)
            raise
        if found.pid < 0:
            raise OSError(-found.pid, f"clone: {os.strerror(-found.pid)}")
        self._parked.remove(found)
        return found

    def refill(self, flags: int, kit: list[Key] | None, started: int) -> None:
        """After a start: where starts follow one another, have a child ready for the next.

        `started` is the pid of what was started just now, by such a child.
        """
        now = time.monotonic()
        before, self._last_start = self._last_start, now
        again, self._last_flags = flags == self._last_flags, flags
        if self._channel is None or now - before > PARKED_FOR_S:
            return
        if self._behind:  # starts side by side wait for children more than for the processor
            self._have_ready(flags, kit, again=again)
            return
        self._behind[started] = lambda: self._have_ready(flags, kit, again=again)
        self._loop.later(BEHIND_S, lambda: self._settle(started))

    def _settle(self, started: int) -> None:
        have_ready = self._behind.pop(started, None)
        if have_ready is not None:
            have_ready()

    def _have_ready(self, flags: int, kit: list[Key] | None, *, again: bool) -> None:
        others = [parked for parked in self._parked if parked.flags != flags]
        if not again and (len(others) < MAX_PARKED or self._with(flags)):
            others = []  # kinds that alternate have one each
        for other in others if again else others[:1]:
            self._dismiss(other)
        if len(self._parked) + len(self._asked) < MAX_PARKED:
            try:
                self._ask(flags, kit, -1)
            except OSError as error:
                self._lost(error)
                return
            if not self._looks_again:
                self._looks_again = True
                self._loop.later(PARKED_FOR_S, self._dismiss_old)

    def reaped(self, pid: int) -> bool:
        """Whether a child that has ended was one of these, or the forking process itself."""
        if pid == self.pid:
            self.pid = 0  # the number may become another child's
            self._lost(OSError(errno.ECHILD, "the forking process has ended"))
            return True
        for parked in [p for p in self._parked if p.pid == pid]:
            self._dismiss(parked)
            return True
        if (have_ready := self._behind.pop(pid, None)) is not None:
            self._loop.later(SETTLED_S, have_ready)
        return False

    def _with(self, flags: int) -> Parked | None:
        return next((p for p in self._parked if p.flags == flags), None)

    def _ask(self, flags: int, kit: list[Key] | None, cgroup: int) -> Parked:
        if self._channel is None:
            raise OSError(errno.ENOTCONN, "there is no forking process")
        ours, theirs = make_channel()
        try:
            fds = [theirs.fileno(), *([cgroup] if cgroup >= 0 else [])]
            lean.send_fds(self._channel, marshal.dumps((flags, kit)), fds)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        asked = Parked(flags, ours)
        self._asked.append(asked)
        return asked

    def _answered(self) -> None:
        try:
            self._hear(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return  # a start that the loop served before has taken it
        except OSError as error:
            self._lost(error)

    def _hear(self, flags: int = 0) -> Parked:
        """One answer: a child, or an errno below 0 in the place of its pid. OSError: nobody."""
        if self._channel is None:
            raise OSError(errno.ENOTCONN, "there is no forking process")
        answer = self._channel.recv(64, flags)
        if not answer or not self._asked:
            raise OSError(errno.ECONNRESET, "the forking process has ended")
        asked = self._asked.pop(0)
        asked.pid = int(answer)
        if asked.pid < 0:
            asked.channel.close()
        else:
            self._parked.append(asked)
        return asked

    def _dismiss(self, parked: Parked) -> None:
        """It ends when its socket does."""
        self._parked.remove(parked)
        parked.channel.close()

    def _dismiss_old(self) -> None:
        before = time.monotonic() - PARKED_FOR_S
        for parked in [p for p in self._parked if p.since <= before]:
            self._dismiss(parked)
        left = [*self._parked, *self._asked]
        self._looks_again = bool(left)
        if left:
            oldest = min(parked.since for parked in left)
            self._loop.later(max(1.0, oldest - before), self._dismiss_old)

    def _lost(self, error: OSError) -> None:
        """From now on the supervisor forks by itself: slower, and no container is the worse."""
        if self._channel is None:
            return
        say(f"the forking process is lost: {error}")
        self._loop.remove(self._channel.fileno())
        self._channel.close()
        self._channel = None
        for parked in self._asked:
            parked.channel.close()
        self._asked = []
