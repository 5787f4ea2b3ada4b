"""Terminals of containers."""

from __future__ import annotations

import fcntl
import struct
import termios

from swarmlite.errors import FailedPrecondition, InvalidSpec

MAX = 2**16 - 1


def check_size(height: int, width: int) -> None:
    """Raises InvalidSpec for what no terminal is."""
    if not (0 <= height <= MAX and 0 <= width <= MAX):
        raise InvalidSpec(f"a terminal has at most {MAX} rows and columns: {height}x{width}")


def resize(console: int, height: int, width: int) -> None:
    """Tell the terminal of this master its size. Raises FailedPrecondition when it is gone."""
    check_size(height, width)
    try:
        fcntl.ioctl(console, termios.TIOCSWINSZ, struct.pack("4H", height, width, 0, 0))
    except OSError as error:
        raise FailedPrecondition(f"the terminal is gone: {error.strerror}") from error
