"""`swarmlite --help` as it was rendered before, for it takes longer to load what renders it.

It lies where compiled Python does, one for each width of a terminal, and is trusted as that is. It
counts while the sources that it was made of are as they were.
"""

from __future__ import annotations

import marshal
import os
import sys

from swarmlite.runtime import compiled

SOURCES = ("choosing.py", "lazy.py", "root.py", "../__init__.py")
WIDEST = 100
"""click's lines are no longer (see lazy.Group); a wider terminal shows the same."""
_HERE = __file__.rpartition("/")[0]


def width() -> int:
    """The columns that click will see: as shutil.get_terminal_size, which is slow to load."""
    try:
        columns = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        columns = 0
    if columns <= 0:
        try:
            columns = os.get_terminal_size(1).columns
        except OSError:
            columns = 0
    return min(columns or 80, WIDEST)


def read() -> str | None:
    """What is kept for this terminal."""
    try:
        stamps, text = marshal.loads(compiled.read(_path()))
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return str(text) if stamps == _stamps() else None


def write(text: str) -> None:
    """Keep it, unless the file system cannot be written."""
    if sys.dont_write_bytecode:
        return
    import contextlib

    with contextlib.suppress(OSError):
        compiled.write(_path(), marshal.dumps((_stamps(), text)))


def _path() -> str:
    return f"{_HERE}/__pycache__/help-{width()}.{sys.implementation.cache_tag}"


def _stamps() -> list[tuple[int, int]]:
    return [compiled.stamp(f"{_HERE}/{name}") for name in SOURCES]
