"""Files of what was worked out of sources once, beside the compiled Python in `__pycache__`."""

from __future__ import annotations

import posix


def stamp(source: str) -> tuple[int, int]:
    """What changes with a source, as for a .pyc: time and size; raises OSError."""
    status = posix.stat(source)
    return int(status.st_mtime), status.st_size


def read(path: str) -> bytes:
    """The whole file; raises OSError."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()


def write(path: str, data: bytes) -> None:
    """Put it in its place as a whole, never through a link that lies there; raises OSError."""
    new = f"{path}.{posix.getpid()}"
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    fd = posix.open(new, flags, 0o644)
    try:
        if posix.write(fd, data) != len(data):
            raise OSError(f"{new}: written in part")
        posix.rename(new, path)
    except OSError:
        posix.unlink(new)
        raise
    finally:
        posix.close(fd)
