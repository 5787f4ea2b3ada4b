"""Copies of files from one root into another: COPY and ADD."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from swarmlite.build.patterns import Excluded
from swarmlite.build.sources import Source, attributes, opened_file
from swarmlite.build.trees import folder, is_directory, looked, made, opened, resolved
from swarmlite.errors import FailedPrecondition
from swarmlite.kernel import durable
from swarmlite.storage import trees

_BLOCK = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
Mode = Callable[[int, bool], int]


@dataclass
class Copying:
    """Into one root. Blocks; raises FailedPrecondition, OSError.

    `owner` is everything's, None for each file's own; `maker` is of directories that are made on
    the way, where it is not `owner`. `mode` makes of a file's mode, and whether it is a directory,
    the copy's. Devices are copied where `devices` says so.
    """

    root: int
    owner: tuple[int, int] | None = (0, 0)
    mode: Mode | None = None
    excluded: Excluded = field(default_factory=lambda: Excluded(()))
    devices: bool = False
    maker: tuple[int, int] | None = None
    _linked: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)

    def copy(self, origin: int, source: Source, target: str, *, into: bool) -> None:
        """One source; `into`: the target is a directory, also where it is not there yet."""
        if source.parents is not None:
            target = posixpath.join(target, source.parents, source.name)
        with looked(origin, source.path) as fd:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):  # what is in it, not the directory itself
                with opened(f"/proc/self/fd/{fd}") as tree:
                    self.tree(tree, target, status)
                return
            if source.parents is None and (into or is_directory(self.root, target)):
                target = posixpath.join(target, source.name)
            self._file(fd, status, target)

    def tree(self, tree: int, target: str, status: os.stat_result | None = None) -> None:
        """What is in a directory. A target that is made for it is as any parent that is: 0755."""
        there = is_directory(self.root, target)
        with folder(self.root, target, self._made_for()):
            times: list[tuple[str, os.stat_result]] = []
            for entry in trees.walk(tree, ordered=True):
                if self.excluded(entry.path):
                    continue
                self._entry(entry, target, times)
        for path, found in reversed(times):
            with contextlib.suppress(FileNotFoundError), folder(self.root, path) as fd:
                os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))
        if not there and status is not None:
            with folder(self.root, target) as fd:
                os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _made_for(self) -> tuple[int, int]:
        return self.maker or self.owner or (0, 0)

    def _entry(
        self, entry: trees.Entry, target: str, times: list[tuple[str, os.stat_result]]
    ) -> None:
        path = posixpath.join(target, entry.path)
        if entry.is_directory:
            try:
                fd = made(self.root, path, self._made_for())
            except NotADirectoryError as error:
                raise FailedPrecondition(f"cannot copy to non-directory: {path}") from error
            try:
                self._describe(fd, entry.status)
            finally:
                os.close(fd)
            times.append((path, entry.status))
            return
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(entry.name, flags, dir_fd=entry.folder)
        try:
            self._place(fd, entry.status, path)
        finally:
            os.close(fd)

    def _file(self, fd: int, status: os.stat_result, target: str) -> None:
        """One that was named itself: where its target is a link, what that leads to is replaced."""
        self._place(fd, status, resolved(self.root, target))

    def _place(self, fd: int, status: os.stat_result, path: str) -> None:
        parent, last = posixpath.split(path.rstrip("/"))
        if not last:
            raise FailedPrecondition(f"cannot copy a file to {path}: it is a directory")
        try:
            above = made(self.root, parent or "/", self._made_for())
        except NotADirectoryError as error:
            raise FailedPrecondition(f"cannot copy to non-directory: {parent}") from error
        try:
            self._make_room(above, last, path)
            if not self._link(status, above, parent, last):
                self._make(fd, status, above, last)
        finally:
            os.close(above)

    def _make_room(self, above: int, last: str, path: str) -> None:
        try:
            os.unlink(last, dir_fd=above)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError) as error:
            raise FailedPrecondition(f"cannot copy to directory: {path}") from error

    def _link(self, status: os.stat_result, above: int, parent: str, last: str) -> bool:
        """A further name of a file that was copied already."""
        if status.st_nlink < 2 or not stat.S_ISREG(status.st_mode):
            return False
        key = (status.st_dev, status.st_ino)
        first = self._linked.get(key)
        if first is None:
            self._linked[key] = (parent, last)
            return False
        try:
            with folder(self.root, first[0]) as other:
                os.link(first[1], last, src_dir_fd=other, dst_dir_fd=above, follow_symlinks=False)
        except FileNotFoundError:  # it was replaced by a later one
            self._linked[key] = (parent, last)
            return False
        return True

    def _make(self, fd: int, status: os.stat_result, above: int, last: str) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            self._content(fd, status, above, last)
            return
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink("", dir_fd=fd), last, dir_fd=above)
        elif kind == stat.S_IFSOCK:
            return
        elif kind == stat.S_IFIFO or self.devices:
            os.mknod(last, kind | 0o600, status.st_rdev, dir_fd=above)
        else:
            raise FailedPrecondition(f"{last}: a device of a build context is not copied")
        owner = self.owner or (status.st_uid, status.st_gid)
        os.chown(last, *owner, dir_fd=above, follow_symlinks=False)
        if kind != stat.S_IFLNK:  # nobody else is here to put a link in its place
            os.chmod(last, self._mode_of(status), dir_fd=above)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(last, ns=times, dir_fd=above, follow_symlinks=False)

    def _content(self, fd: int, status: os.stat_result, above: int, last: str) -> None:
        new = os.open(last, _NEW, 0o600, dir_fd=above)
        try:
            with opened_file(fd) as file:
                _transfer(file, new)
                self._own(new, status)
                for name, value in attributes(file):
                    try:
                        os.setxattr(new, name, value)
                    except OSError as error:
                        if durable.is_full(error):
                            raise  # else it is a disk without user attributes
            os.fchmod(new, self._mode_of(status))
            os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(new)

    def _describe(self, fd: int, status: os.stat_result) -> None:
        self._own(fd, status)
        os.fchmod(fd, self._mode_of(status))

    def _own(self, fd: int, status: os.stat_result) -> None:
        os.fchown(fd, *(self.owner or (status.st_uid, status.st_gid)))

    def _mode_of(self, status: os.stat_result) -> int:
        mode = stat.S_IMODE(status.st_mode)
        return self.mode(mode, stat.S_ISDIR(status.st_mode)) if self.mode else mode


def _transfer(source: int, target: int) -> None:
    try:
        while os.copy_file_range(source, target, _BLOCK * 64):
            pass
        return
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    while block := os.read(source, _BLOCK):
        view = memoryview(block)
        while view:
            view = view[os.write(target, view) :]
