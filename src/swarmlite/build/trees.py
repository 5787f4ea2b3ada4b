"""Directories that a build reads and writes, each by a descriptor of its root.

Every path is opened below a root by openat2(RESOLVE_IN_ROOT): links, `..` and absolute targets of
a context or an image stay inside of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from swarmlite.engine.engine import Engine
from swarmlite.kernel.paths import DIRECTORY, open_in_root
from swarmlite.storage.snapshots.overlay import OverlaySnapshots

LOOK = os.O_PATH | os.O_CLOEXEC
_MAX_LINKS = 40


@contextlib.contextmanager
def opened(path: Path | str) -> Iterator[int]:
    """A descriptor of a directory of the host."""
    fd = os.open(path, DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def view(engine: Engine, chain: Sequence[str]) -> Iterator[int]:
    """The root of what layers come to, to be read. Blocks."""
    snapshots = engine.storage.snapshots
    if isinstance(snapshots, OverlaySnapshots):
        with snapshots.shown(chain) as place, opened(place) as root:
            yield root
        return
    with engine.transients.held() as key:
        snapshots.prepare(key, chain)
        try:
            with snapshots.mounted(key) as place, opened(place) as root:
                yield root
        finally:
            snapshots.remove(key)


@contextlib.contextmanager
def writable(engine: Engine, key: str) -> Iterator[int]:
    """The root of a snapshot that no container runs on, to be written. Blocks."""
    with engine.storage.snapshots.mounted(key, write=True) as place, opened(place) as root:
        yield root


@contextlib.contextmanager
def looked(root: int, path: str, *, follow: bool = True) -> Iterator[int]:
    """A descriptor to look at what is at a path; links on the way are followed inside the root.

    Raises FileNotFoundError, NotADirectoryError.
    """
    fd = look(root, path, follow=follow)
    try:
        yield fd
    finally:
        os.close(fd)


def look(root: int, path: str, *, follow: bool = True) -> int:
    """`looked`; the caller closes it."""
    return open_in_root(root, path or ".", LOOK | (0 if follow else os.O_NOFOLLOW))


def status_of(root: int, path: str) -> os.stat_result | None:
    """What a path leads to, links followed; None where nothing is."""
    try:
        with looked(root, path) as fd:
            return os.fstat(fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise


def is_directory(root: int, path: str) -> bool:
    """Whether it leads to one."""
    status = status_of(root, path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def resolved(root: int, path: str) -> str:
    """The same place by a path whose last part is no link; what is not there may be made there."""
    for _ in range(_MAX_LINKS):
        parent, last = posixpath.split(path.rstrip("/"))
        if not last or last in (".", ".."):
            return path
        try:
            with looked(root, path, follow=False) as fd:
                if not stat.S_ISLNK(os.fstat(fd).st_mode):
                    return path
                target = os.readlink("", dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            return path
        path = target if target.startswith("/") else posixpath.join(parent, target)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


@contextlib.contextmanager
def folder(
    root: int, path: str, owner: tuple[int, int] = (0, 0), mode: int = 0o755
) -> Iterator[int]:
    """A directory below the root, made where it is missing, its parents too."""
    fd = made(root, path, owner, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def made(
    root: int,
    path: str,
    owner: tuple[int, int] = (0, 0),
    mode: int = 0o755,
    links: int = _MAX_LINKS,
) -> int:
    """`folder`; the caller closes it. Raises NotADirectoryError."""
    try:
        return open_in_root(root, path or "/", DIRECTORY)
    except FileNotFoundError:
        if not links:
            raise
    path = resolved(root, path)  # a link whose target is not there: it is made
    parent, last = posixpath.split(path.rstrip("/"))
    if last in ("", ".", ".."):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    above = made(root, parent or "/", owner, mode, links - 1)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(last, 0o700, dir_fd=above)
            fd = os.open(last, DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            try:
                os.fchown(fd, *owner)
                os.fchmod(fd, mode)
            except BaseException:
                os.close(fd)
                raise
            return fd
    finally:
        os.close(above)
    return open_in_root(root, path, DIRECTORY)
