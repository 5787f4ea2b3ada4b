"""Walking and removing trees: the one way, for whatever a container or an archive has made.

Directories may nest deeper than any path is long, and hold more names than fit into memory. So
removal walks nothing down: what a directory holds is unlinked, and directories in it that are not
empty are renamed up beside it, until all are. That takes a few descriptors and no memory that
grows, never follows a link, and never enters a mount (the kernel refuses to rename one). Of the
standard library only.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import functools
import itertools
import os
import stat
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GETFLAGS, _SETFLAGS = 0x80086601, 0x40086602  # FS_IOC_*, linux/fs.h
_IMMUTABLE_OR_APPEND = 0x10 | 0x20
_TRIES = 3
GONE = ".gone-"
"""How the names begin of what was set aside."""
MAX_ASIDE = 64


def remove(path: Path, *, dir_fd: int | None = None) -> None:
    """Remove a file, link or tree; one that is not there is no error. Blocks.

    Raises the first OSError, after everything else is gone; what stays can be removed again.
    """
    try:
        status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(path, dir_fd=dir_fd)
            return
        root = os.open(path, _DIRECTORY, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    try:
        failure = _Emptying(root).run()
    finally:
        os.close(root)
    if failure is not None:
        raise failure
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path, dir_fd=dir_fd)


def sweep(path: Path) -> bool:
    """`remove` for what nobody waits for: a failure is logged. Whether all of it is gone."""
    try:
        remove(path)
    except OSError as error:
        import logging  # not above: the unpacker starts once a layer, and has no log

        log = logging.getLogger(__name__)
        log.warning("not all of it is removed path=%s error=%s", path, error)
        return False
    return True


def set_aside(path: Path) -> None:
    """Have a tree gone from its place when this returns, and from the disk soon after. Blocks.

    What an untimely end of the process leaves beside its place its owner sweeps at the next start.
    Raises OSError.
    """
    if (gone := renamed_aside(path)) is not None:
        sweep_later(gone)


def renamed_aside(path: Path) -> Path | None:
    """Rename a tree to `.gone-...` beside its place; None where there is none. Raises OSError."""
    gone = path.with_name(f"{GONE}{path.name}-{os.urandom(4).hex()}")
    try:
        os.rename(path, gone)  # noqa: PTH104
    except FileNotFoundError:
        return None
    return gone


def sweep_later(path: Path) -> None:
    """`sweep` by a thread that does so for one after the other; waits while it has many to do."""
    _aside().put(path)


class _Aside:
    """Sweeps what it is given, by a thread that begins with the first."""

    def __init__(self) -> None:
        import queue  # not above: the unpacker starts once a layer, and sets nothing aside

        self._paths = queue.Queue[Path](MAX_ASIDE)
        self._beginning = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, path: Path) -> None:
        with self._beginning:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="storage-aside", daemon=True)
                self._thread.start()
        self._paths.put(path)

    def wait(self) -> None:
        self._paths.join()

    def _run(self) -> None:
        while True:
            path = self._paths.get()
            sweep(path)
            self._paths.task_done()


@functools.cache
def _aside() -> _Aside:
    return _Aside()


def discard(*paths: Path) -> None:
    """`sweep` in a thread of its own. Whoever calls has renamed them out of sight before."""
    if not paths:
        return

    def work() -> None:
        for path in paths:
            sweep(path)

    thread = threading.Thread(target=work, name="storage-discard", daemon=True)
    thread.start()
    _discards.add(thread)  # a set that forgets those that have ended


def wait_for_discards() -> None:
    """Wait until everything that was discarded or set aside so far is gone. Blocks."""
    _aside().wait()
    for thread in list(_discards):
        thread.join()


_discards: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class _Emptying:
    """Empties the directory of one descriptor."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._numbers = itertools.count()
        self._prefix = f".gone-{os.urandom(4).hex()}-"
        self._failure: OSError | None = None
        self._progress = False

    def run(self) -> OSError | None:
        """Pass over it until it is empty, or nothing more goes; what stood in the way then."""
        while True:
            self._failure, self._progress = None, False
            with _own(self._root) as names:
                for name in names:
                    if not self._take(self._root, name):
                        self._flatten(name)
            if not self._progress:
                return self._failure

    def _flatten(self, name: str) -> None:
        """Empty a directory of the root: its directories that hold anything go up to the root."""
        try:
            folder = os.open(name, _DIRECTORY, dir_fd=self._root)
        except OSError as error:
            self._fail(error)
            return
        try:
            self._allow(folder)
            moved = name
            if not name.startswith(self._prefix):
                # a mount may be of this very file system: only renaming it tells
                moved = f"{self._prefix}{next(self._numbers)}"
                os.rename(name, moved, src_dir_fd=self._root, dst_dir_fd=self._root)
            with _own(folder) as names:
                for inner in names:
                    if not self._take(folder, inner):
                        self._lift(folder, inner)
            self._take(self._root, moved)
        except OSError as error:
            self._fail(error)
        finally:
            os.close(folder)

    def _lift(self, folder: int, name: str) -> None:
        target = f"{self._prefix}{next(self._numbers)}"
        try:
            os.rename(name, target, src_dir_fd=folder, dst_dir_fd=self._root)
            self._progress = True
        except PermissionError as error:
            if not self._unlock(folder, name):
                self._fail(error)
        except OSError as error:
            if error.errno != errno.EMLINK:  # the root has its fill: another pass takes it
                self._fail(error)

    def _take(self, folder: int, name: str) -> bool:
        """Whether `name` is gone, or cannot go; false for a directory that holds something."""
        try:
            _unlink(folder, name)
        except FileNotFoundError:
            return True
        except PermissionError as error:
            if not self._unlock(folder, name):
                self._fail(error)
                return True
            return self._take(folder, name)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            self._fail(error)
            return True
        self._progress = True
        return True

    def _unlock(self, folder: int, name: str) -> bool:
        """Take the flags immutable and append-only away; whether that changed anything."""
        changed = self._allow(folder)
        with contextlib.suppress(OSError):
            if stat.S_IFMT(os.lstat(name, dir_fd=folder).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                try:
                    changed |= self._allow(fd)
                finally:
                    os.close(fd)
        return changed

    def _allow(self, fd: int) -> bool:
        flags = array.array("l", [0])
        try:
            fcntl.ioctl(fd, _GETFLAGS, flags)
            if not flags[0] & _IMMUTABLE_OR_APPEND:
                return False
            flags[0] &= ~_IMMUTABLE_OR_APPEND
            fcntl.ioctl(fd, _SETFLAGS, flags)
        except OSError:
            return False
        return True

    def _fail(self, error: OSError) -> None:
        self._failure = self._failure or error


def _unlink(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        os.rmdir(name, dir_fd=folder)


@contextlib.contextmanager
def _own(folder: int) -> Iterator[Iterator[str]]:
    """The names in a directory, as they come: from a position of its own, without a list."""
    copy = os.open(".", _DIRECTORY, dir_fd=folder)
    try:
        with os.scandir(copy) as entries:
            yield (entry.name for entry in entries)
    finally:
        os.close(copy)


@dataclass(frozen=True)
class Entry:
    """One name in a tree, found in the open directory `folder`; valid until the next is asked for.

    `parts` lead from the root to it.
    """

    folder: int
    parts: tuple[str, ...]
    status: os.stat_result

    @property
    def name(self) -> str:
        """The last of its parts."""
        return self.parts[-1]

    @property
    def path(self) -> str:
        """Relative to the root."""
        return "/".join(self.parts)

    @property
    def is_directory(self) -> bool:
        """Not a link to one."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_whiteout(self) -> bool:
        """Whether overlayfs takes it for the absence of a name."""
        return stat.S_ISCHR(self.status.st_mode) and self.status.st_rdev == 0


def walk(root: int, *, ordered: bool = False) -> Iterator[Entry]:
    """Everything below a directory, each directory before what is in it; no link is followed.

    With `ordered` two walks of equal trees give the same: the names of one directory are sorted.

    One directory is open at a time, however deep; directories on other file systems are not
    entered. Names that vanish meanwhile are left out. Raises OSError, EXDEV where a directory was
    moved away while it was walked.
    """
    device = os.fstat(root).st_dev
    folder = os.open(".", _DIRECTORY, dir_fd=root)
    above: list[tuple[tuple[int, int], list[str]]] = []  # who the parents are, what they still have
    parts: tuple[str, ...] = ()
    pending: list[str] = []
    try:
        while True:
            for entry in _entries(folder, parts, ordered=ordered):
                yield entry
                if entry.is_directory and entry.status.st_dev == device:
                    pending.append(entry.name)
            while not (below := _enter(folder, pending)):
                if not above:
                    return
                identity, pending = above.pop()
                folder, old = os.open("..", _DIRECTORY, dir_fd=folder), folder
                os.close(old)
                parts = parts[:-1]
                if _identity(folder) != identity:
                    raise OSError(errno.EXDEV, "the tree was changed while it was read")
            name, inner = below
            above.append((_identity(folder), pending))
            os.close(folder)
            folder, parts, pending = inner, (*parts, name), []
    finally:
        os.close(folder)


def _entries(folder: int, parts: tuple[str, ...], *, ordered: bool) -> Iterator[Entry]:
    with _own(folder) as names:
        for name in sorted(names) if ordered else names:
            with contextlib.suppress(FileNotFoundError):
                yield Entry(folder, (*parts, name), os.lstat(name, dir_fd=folder))


def _enter(folder: int, pending: list[str]) -> tuple[str, int] | None:
    while pending:
        name = pending.pop()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return name, os.open(name, _DIRECTORY, dir_fd=folder)
    return None


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def size(path: Path) -> int:
    """The bytes of the files below a directory, each counted once however many names it has.

    What a running container moves meanwhile is counted as well as can be.
    """
    root = os.open(path, _DIRECTORY)
    try:
        for _ in range(_TRIES):
            total, whole = _size(root)
            if whole:
                break
        return total
    finally:
        os.close(root)


def _size(root: int) -> tuple[int, bool]:
    total = 0
    linked: set[int] = set()
    try:
        for entry in walk(root):
            status = entry.status
            if not stat.S_ISREG(status.st_mode) or status.st_ino in linked:
                continue
            if status.st_nlink > 1:
                linked.add(status.st_ino)
            total += status.st_size
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.ENOENT):
            raise
        return total, False  # a directory was moved or removed while it was open
    return total, True
