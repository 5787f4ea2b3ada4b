"""Files that a compose file names: they are read here, and only where whoever wrote it may.

Who sends a stack's file by the page has no files on the manager's host, and is not to see any.
"""

from __future__ import annotations

import errno
from contextvars import ContextVar
from pathlib import Path

from swarmlite.errors import InvalidSpec

_closed: ContextVar[bool] = ContextVar("closed", default=False)


def close() -> None:
    """From now on the compose file itself is all that is read."""
    _closed.set(True)


def closed() -> bool:
    """Whether `close` was called."""
    return _closed.get()


def read(path: Path, most: int = -1) -> bytes:
    """The first `most` bytes of a file, or all. Raises OSError."""
    if closed():
        why = "only the stack's file itself is read here: write into it what that file says"
        raise PermissionError(errno.EPERM, why, str(path))
    with path.open("rb") as stream:
        return stream.read(most)


def check_bind(source: str) -> None:
    """Raises InvalidSpec for a relative path where there is no folder that it begins in."""
    if closed() and not source.startswith("/"):
        raise InvalidSpec(f"bind: {source!r} begins nowhere here; name it from / on")
