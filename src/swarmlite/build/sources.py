"""What COPY and ADD take: the files that their words name below a root, and what these come to."""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from swarmlite.build.patterns import Excluded, is_pattern, part
from swarmlite.build.trees import is_directory, looked, opened
from swarmlite.errors import NotFound
from swarmlite.kernel.paths import DIRECTORY, open_in_root
from swarmlite.storage import trees

_BLOCK = 1 << 20
_ATTRIBUTES = ("user.", "security.capability")


@dataclass(frozen=True)
class Source:
    """One file or directory: where it lies below its root, and what it is called at its target.

    `parents` is what --parents keeps of the way to it, None without. Of a directory what is in it
    is taken.
    """

    path: str
    name: str
    parents: str | None = None


def select(root: int, word: str, *, keep_parents: bool = False) -> list[Source]:
    """What one word names. Raises NotFound, Wrong for a bad pattern."""
    pivot, below = "", word
    if keep_parents and "/./" in word:
        pivot, _, below = word.partition("/./")
    pivot = posixpath.normpath("/" + pivot.lstrip("/")).lstrip("/")
    below = posixpath.normpath("/" + below.lstrip("/")).lstrip("/")  # `..` ends at the root
    found = [
        Source(
            posixpath.join(pivot, path),
            posixpath.basename(path),
            posixpath.dirname(path) if keep_parents else None,
        )
        for path in _expanded(root, pivot, below)
    ]
    for source in found:
        _check(root, source.path)
    if not found:
        if is_pattern(word):
            raise NotFound(f"{word}: no file matches")
        raise NotFound(f'"/{posixpath.join(pivot, below)}": not found')
    return found


def _check(root: int, path: str) -> None:
    """Raises NotFound for a link that leads nowhere."""
    try:
        with looked(root, path):
            pass
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        raise NotFound(f'"/{path}": not found') from error


def _expanded(root: int, pivot: str, below: str) -> list[str]:
    """Paths below the pivot, sorted."""
    found = [""]
    for piece in below.split("/") if below else ():
        if piece == "**":
            found = [path for start in found for path in _all_below(root, pivot, start)]
        elif is_pattern(piece):
            pattern = part(piece)
            found = [
                posixpath.join(path, name)
                for path in found
                for name in _names(root, posixpath.join(pivot, path))
                if pattern.fullmatch(name)
            ]
        else:
            found = [posixpath.join(path, piece) for path in found]
            found = [path for path in found if _there(root, posixpath.join(pivot, path))]
    return found


def _there(root: int, path: str) -> bool:
    try:
        with looked(root, path, follow=False):
            return True
    except (FileNotFoundError, NotADirectoryError):
        return False


def _names(root: int, path: str) -> list[str]:
    try:
        fd = open_in_root(root, path or ".", DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return sorted(os.listdir(fd))  # noqa: PTH208 - of a descriptor
    finally:
        os.close(fd)


def _all_below(root: int, pivot: str, start: str) -> Iterator[str]:
    """A directory and those in it, however deep."""
    if not is_directory(root, posixpath.join(pivot, start)):
        return
    yield start
    fd = open_in_root(root, posixpath.join(pivot, start) or ".", DIRECTORY)
    try:
        for entry in trees.walk(fd, ordered=True):
            if entry.is_directory:
                yield posixpath.join(start, entry.path)
    finally:
        os.close(fd)


# what they come to
def digest(
    root: int, sources: Sequence[Source], excluded: Excluded, *, owners: bool, names: bool = True
) -> str:
    """A digest of all that a copy takes over. Raises OSError.

    Without `owners` the files' own do not count; without `names` neither do those of the sources.
    """
    state = hashlib.sha256()
    for source in sources:
        with looked(root, source.path) as fd:
            status = os.fstat(fd)
            name = f"{source.parents}/{source.name}" if names else f"{source.parents}"
            state.update(_described(name, status, owners))
            if stat.S_ISDIR(status.st_mode):
                with opened(f"/proc/self/fd/{fd}") as folder:
                    _hash_tree(state, folder, excluded, owners)
            elif stat.S_ISREG(status.st_mode):
                with opened_file(fd) as file:
                    _hash_file(state, file)
    return f"sha256:{state.hexdigest()}"


def opened_file(fd: int) -> _File:
    """A regular file that was looked at, to be read."""
    return _File(fd)


class _File:
    def __init__(self, looked_at: int) -> None:
        self._fd = os.open(f"/proc/self/fd/{looked_at}", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _hash_tree(state: hashlib._Hash, folder: int, excluded: Excluded, owners: bool) -> None:
    for entry in trees.walk(folder, ordered=True):
        if excluded(entry.path):
            continue
        status = entry.status
        state.update(_described(entry.path, status, owners))
        if stat.S_ISREG(status.st_mode):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(entry.name, flags, dir_fd=entry.folder)
            try:
                _hash_file(state, fd)
            finally:
                os.close(fd)
        elif stat.S_ISLNK(status.st_mode):
            state.update(os.fsencode(os.readlink(entry.name, dir_fd=entry.folder)) + b"\0")


def _hash_file(state: hashlib._Hash, fd: int) -> None:
    for name, value in attributes(fd):
        state.update(f"{name}\0{len(value)}\0".encode() + value)
    while block := os.read(fd, _BLOCK):
        state.update(block)


def attributes(fd: int) -> list[tuple[str, bytes]]:
    """Those of a file that a copy takes along, sorted."""
    try:
        names = sorted(name for name in os.listxattr(fd) if name.startswith(_ATTRIBUTES))
        return [(n, os.getxattr(fd, n)) for n in names if not n.startswith("user.overlay.")]
    except OSError:
        return []


def _described(path: str, status: os.stat_result, owners: bool) -> bytes:
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    owner = (status.st_uid, status.st_gid) if owners else (0, 0)
    return os.fsencode(f"{path}\0{status.st_mode:o} {size} {owner} {status.st_rdev}\0")
