"""The terminal on standard input: raw mode, size."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from swarmlite.errors import InvalidSpec


def is_terminal() -> bool:
    """Whether standard input is a terminal."""
    try:
        return sys.stdin.isatty()
    except (AttributeError, ValueError):
        return False  # closed


def check_terminal(wanted: bool) -> None:
    """Refuse a terminal for a container whose input comes from none. Raises InvalidSpec."""
    if wanted and not is_terminal():
        raise InvalidSpec("the input device is not a TTY")


def size() -> tuple[int, int]:
    """Height and width in characters; (0, 0) without a terminal."""
    for stream in (sys.stdout, sys.stdin):
        try:
            found = os.get_terminal_size(stream.fileno())
        except (OSError, ValueError, AttributeError):
            continue
        return found.lines, found.columns
    return 0, 0


@contextmanager
def raw(wanted: bool) -> Iterator[None]:
    """Keys go through as they are typed, where there is a terminal; put back at the end."""
    if not (wanted and is_terminal()):
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSANOW)  # what was typed ahead is kept
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
