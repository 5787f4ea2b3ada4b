"""Staying with a process in the foreground: its terminal, its signals, its exit code."""

from __future__ import annotations

import fcntl
import os
import select

from swarmlite.kernel import processes
from swarmlite.runtime import lean
from swarmlite.runtime.lean import signal

TIOCGWINSZ, TIOCSWINSZ = 0x5413, 0x5414
NOT_FORWARDED = {lean.SIGCHLD, lean.SIGWINCH, lean.SIGKILL, lean.SIGSTOP, lean.SIGURG}


def stay_with(pid: int, console: int) -> int:
    """Until a child of ours ends: pass on signals and, with a console, what is typed and printed.

    Returns its exit code, 128 and the signal when one ended it.
    """
    forwarded = [number for number in signal.valid_signals() if number not in NOT_FORWARDED]
    ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    for number in [*forwarded, lean.SIGWINCH]:
        try:
            signal.signal(number, lambda *_: None)
        except OSError:
            continue  # of libc's own
    before = _make_raw() if console >= 0 else None
    descriptor = processes.pidfd_open(pid)
    try:
        _copy_until_end(pid, descriptor, ours, console)
    finally:
        os.close(descriptor)
        if before is not None:
            _restore(before)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _copy_until_end(pid: int, descriptor: int, signals: int, console: int) -> None:
    waiting = select.poll()
    for fd in (descriptor, signals):
        waiting.register(fd, select.POLLIN)
    if console >= 0:
        _resize(console)
        waiting.register(console, select.POLLIN)
        waiting.register(0, select.POLLIN)
    while True:
        ready = {fd for fd, _ in waiting.poll()}
        if signals in ready:
            for number in os.read(signals, 4096):
                if number == lean.SIGWINCH and console >= 0:
                    _resize(console)
                elif number not in NOT_FORWARDED:
                    os.kill(pid, number)
        if console in ready and not _copy(console, 1):
            waiting.unregister(console)
        elif 0 in ready and not _copy(0, console):
            waiting.unregister(0)
        if descriptor in ready:
            if console >= 0:
                os.set_blocking(console, False)
                while _copy(console, 1):
                    continue
            return


def _copy(source: int, target: int) -> bool:
    """What is there; False at the end."""
    try:
        data = os.read(source, 1 << 16)
    except OSError:
        return False  # EIO: the last user of a pty has left
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
    return bool(data)


def _make_raw() -> list | None:  # type: ignore[type-arg]
    if not os.isatty(0):
        return None
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0)
    return before


def _restore(before: list) -> None:  # type: ignore[type-arg]
    import termios

    termios.tcsetattr(0, termios.TCSADRAIN, before)


def _resize(console: int) -> None:
    """As large as our own."""
    try:
        size = fcntl.ioctl(0, TIOCGWINSZ, bytes(8))
        fcntl.ioctl(console, TIOCSWINSZ, size)
    except OSError:
        pass  # standard input is no terminal
