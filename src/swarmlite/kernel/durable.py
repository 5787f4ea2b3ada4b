"""Files that are whole or absent, whatever happens: the one way that state is written to disk.

A file is written beside its place, brought to the disk and renamed, and then its folder is brought
to the disk: after a power cut there is the old content or the new one, never half of either. With
`sync` false the same holds for a crash of the process only, at no cost: for what a reboot clears.

Every call blocks and raises OSError, a full disk's among others, with nothing changed; whoever must
go on then says what that means (`is_full`).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from swarmlite.kernel import foreign
from swarmlite.kernel.libc import LIBC, call, check

_syncfs = LIBC.syncfs
_syncfs.argtypes = [foreign.c_int]
_FULL = (errno.ENOSPC, errno.EDQUOT)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def write(path: Path, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Put `data` in the place of what `path` is. One writer a path at a time."""
    scratch = scratch_of(path)
    try:
        with named(path):
            create(scratch, data, mode=mode, sync=sync)
            replace(scratch, path, sync=sync)
    except BaseException:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise


def scratch_of(path: Path) -> Path:
    """Where `write` prepares a file; what lies there at a start is a leftover."""
    return path.with_name(f".{path.name}.new")


def create(path: Path, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Write a file in its place, over what is there: for places that nobody reads yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path, *, sync: bool = True) -> None:
    """Rename a file or folder whose content is on the disk already."""
    os.rename(source, target)  # noqa: PTH104
    if sync:
        sync_folder(target.parent)
        if source.parent != target.parent:
            sync_folder(source.parent)


def exchange(one: Path, other: Path) -> None:
    """Swap two files or folders, whose content is on the disk already: there is no moment at which
    either place is empty.
    """
    call(
        "renameat2",
        *(_AT_FDCWD, os.fsencode(one)),
        *(_AT_FDCWD, os.fsencode(other)),
        _RENAME_EXCHANGE,
    )
    sync_folder(one.parent)
    sync_folder(other.parent)


def remove(path: Path, *, sync: bool = True) -> None:
    """Unlink a file; one that is not there is no error."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        if sync:
            sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring a folder's names to the disk."""
    with _opened(path) as descriptor:
        os.fsync(descriptor)


def sync_disk(path: Path) -> None:
    """Bring everything on the file system of `path` to the disk: a whole tree, in one call."""
    with _opened(path) as descriptor:
        check(_syncfs(descriptor), "syncfs")


def is_full(error: OSError) -> bool:
    """Whether the disk (or a quota) is full: it passes when somebody makes room."""
    return error.errno in _FULL


@contextlib.contextmanager
def named(what: object) -> Iterator[None]:
    """An OSError of the block says that it is of `what`: a write names nothing, a scratch file is
    nothing that a user knows.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(what)) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
