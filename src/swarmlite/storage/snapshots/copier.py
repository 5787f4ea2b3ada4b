"""Copies trees, and layers over trees: what overlayfs does at a mount, done once for all files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from swarmlite.kernel.paths import DIRECTORY, open_in_root
from swarmlite.storage import trees
from swarmlite.storage.snapshots.tars import OPAQUE, WHITEOUT
from swarmlite.storage.trees import Entry

_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file
_NOT_COPIED = "trusted.overlay."
_OPAQUE_XATTR = "trusted.overlay.opaque"
_CHUNK = 1 << 20


def copy_tree(source: Path, target: Path) -> None:
    """Make `target`, an empty directory, the same as `source`. Raises OSError."""
    _copy(source, target, layer=False)


def add_layer(layer: Path, target: Path) -> None:
    """Put a layer over what `target` has; whiteouts as files or as overlayfs has them."""
    _copy(layer, target, layer=True)


def _copy(source: Path, target: Path, *, layer: bool) -> None:
    with contextlib.ExitStack() as stack:
        opened = []
        for path in (source, target):
            fd = os.open(path, DIRECTORY)
            stack.callback(os.close, fd)
            opened.append(fd)
        copier = _Copier(*opened, layer=layer)
        stack.callback(copier.close)
        for entry in trees.walk(opened[0]):
            copier.entry(entry)
        copier.finish()


@dataclass(frozen=True)
class _Times:
    parts: tuple[str, ...]
    ns: tuple[int, int]


class _Copier:
    def __init__(self, source: int, target: int, *, layer: bool) -> None:
        self._source, self._target, self._layer = source, target, layer
        self._parent: tuple[tuple[str, ...], int] = ((), os.dup(target))
        self._linked: dict[tuple[int, int], tuple[str, ...]] = {}
        self._directories: list[_Times] = []

    def close(self) -> None:
        os.close(self._parent[1])

    def entry(self, entry: Entry) -> None:
        parent = self._open_parent(entry.parts[:-1])
        if self._layer and self._is_whiteout(entry, parent):
            return
        if self._layer:
            self._make_room(entry, parent)
        kind = stat.S_IFMT(entry.status.st_mode)
        if kind == stat.S_IFDIR:
            self._directory(entry, parent)
        elif kind == stat.S_IFREG:
            self._file(entry, parent)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(entry.name, dir_fd=entry.folder), entry.name, dir_fd=parent)
            self._describe(entry, parent)
        elif kind != stat.S_IFSOCK:
            os.mknod(entry.name, entry.status.st_mode, entry.status.st_rdev, dir_fd=parent)
            self._describe(entry, parent)

    def finish(self) -> None:
        """The root's own owner, mode and times, and the times of all directories."""
        status = os.fstat(self._source)
        _attributes(self._source, self._target)
        os.fchown(self._target, status.st_uid, status.st_gid)
        os.fchmod(self._target, stat.S_IMODE(status.st_mode))
        for times in reversed(self._directories):
            fd = open_in_root(self._target, "/".join(times.parts), follow=False)
            try:
                os.utime(fd, ns=times.ns)
            finally:
                os.close(fd)
        os.utime(self._target, ns=(status.st_atime_ns, status.st_mtime_ns))

    # whiteouts
    def _is_whiteout(self, entry: Entry, parent: int) -> bool:
        """Whether it is one, done with then: a name that the layer brings itself stays."""
        if entry.is_whiteout:
            trees.remove(Path(entry.name), dir_fd=parent)
            return True
        if not entry.name.startswith(WHITEOUT):
            return False
        hidden = entry.name[len(WHITEOUT) :]
        if entry.name != OPAQUE and not _exists(entry.folder, hidden):
            trees.remove(Path(hidden), dir_fd=parent)
        return True

    def _make_room(self, entry: Entry, parent: int) -> None:
        """Take away what the entry replaces; directories merge, unless this one is opaque."""
        hidden = _exists(entry.folder, f"{WHITEOUT}{entry.name}")
        merges = entry.is_directory and not hidden and not _is_opaque(entry)
        try:
            there = os.stat(entry.name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not merges or not stat.S_ISDIR(there.st_mode):
            trees.remove(Path(entry.name), dir_fd=parent)

    # kinds
    def _directory(self, entry: Entry, parent: int) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(entry.name, 0o700, dir_fd=parent)
        source = os.open(entry.name, DIRECTORY | os.O_NOFOLLOW, dir_fd=entry.folder)
        try:
            target = os.open(entry.name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            try:
                os.fchown(target, entry.status.st_uid, entry.status.st_gid)
                _attributes(source, target)
                os.fchmod(target, stat.S_IMODE(entry.status.st_mode))
            finally:
                os.close(target)
        finally:
            os.close(source)
        self._directories.append(_Times(entry.parts, _times(entry.status)))

    def _file(self, entry: Entry, parent: int) -> None:
        status = entry.status
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and (first := self._linked.get(key)):
            folder = open_in_root(self._target, "/".join(first[:-1]), follow=False)
            try:
                os.link(
                    first[-1], entry.name, src_dir_fd=folder, dst_dir_fd=parent,
                    follow_symlinks=False,
                )  # fmt: skip
            finally:
                os.close(folder)
            return
        flags = os.O_NOFOLLOW | os.O_CLOEXEC
        source = os.open(entry.name, os.O_RDONLY | flags, dir_fd=entry.folder)
        try:
            made = os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags
            target = os.open(entry.name, made, 0o600, dir_fd=parent)
            try:
                _content(source, target, status.st_size)
                os.fchown(target, status.st_uid, status.st_gid)
                _attributes(source, target)
                os.fchmod(target, stat.S_IMODE(status.st_mode))
                os.utime(target, ns=_times(status))
            finally:
                os.close(target)
        finally:
            os.close(source)
        if status.st_nlink > 1:
            self._linked[key] = entry.parts

    def _describe(self, entry: Entry, parent: int) -> None:
        status = entry.status
        os.chown(entry.name, status.st_uid, status.st_gid, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(entry.name, stat.S_IMODE(status.st_mode), dir_fd=parent)
        os.utime(entry.name, ns=_times(status), dir_fd=parent, follow_symlinks=False)

    def _open_parent(self, parts: tuple[str, ...]) -> int:
        if self._parent[0] != parts:
            fd = open_in_root(self._target, "/".join(parts), follow=False)
            os.close(self._parent[1])
            self._parent = (parts, fd)
        return self._parent[1]


def _times(status: os.stat_result) -> tuple[int, int]:
    return status.st_atime_ns, status.st_mtime_ns


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _is_opaque(entry: Entry) -> bool:
    if not entry.is_directory:
        return False
    fd = os.open(entry.name, DIRECTORY | os.O_NOFOLLOW, dir_fd=entry.folder)
    try:
        with contextlib.suppress(OSError):
            if os.getxattr(fd, _OPAQUE_XATTR) == b"y":
                return True
        return _exists(fd, OPAQUE)
    finally:
        os.close(fd)


def _content(source: int, target: int, size: int) -> None:
    """Shared blocks where the file system can, else the data without its holes."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return
    except OSError:
        pass
    os.ftruncate(target, size)
    at = 0
    while at < size:
        try:
            begin = os.lseek(source, at, os.SEEK_DATA)
            end = os.lseek(source, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            begin, end = at, size  # a file system that knows no holes
        _range(source, target, begin, end)
        at = end


def _range(source: int, target: int, begin: int, end: int) -> None:
    while begin < end:
        piece = os.pread(source, min(end - begin, _CHUNK), begin)
        if not piece:
            return
        begin += os.pwrite(target, piece, begin)


def _attributes(source: int, target: int) -> None:
    try:
        names = os.listxattr(source)
    except OSError:
        return
    for name in names:
        if name.startswith(_NOT_COPIED):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            # a disk without ACLs or user attributes is no reason to fail; a full one is
            if name == "security.capability" or error.errno == errno.ENOSPC:
                raise
