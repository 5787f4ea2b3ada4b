"""Writes tars of trees, piece by piece: names, owners, modes, times, links, attributes.

Source: POSIX.1-2008 pax, by way of tarfile's headers; attributes as SCHILY.xattr records.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator

from swarmlite.storage.trees import Entry

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_CHUNK = 256 << 10
_KINDS = {
    stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFBLK: tarfile.BLKTYPE, stat.S_IFIFO: tarfile.FIFOTYPE,
}  # fmt: skip
_KEPT = ("user.", "security.capability", "system.posix_acl_")


class TarStream:
    """One tar in the making; the pieces of it are what its methods return, in their order."""

    def __init__(self, first_id: int = 0, id_count: int = 0) -> None:
        """`first_id`: the host's id that is written as 0, of `id_count`; others stay."""
        self._first_id, self._ids = first_id, range(first_id, first_id + id_count)
        self._linked: dict[tuple[int, int], str] = {}

    def marker(self, name: str) -> bytes:
        """An empty file, such as a whiteout."""
        return _header(tarfile.TarInfo(name))

    def member(self, entry: Entry) -> Iterator[bytes]:
        """One entry with its data; sockets are left out, as every tar does."""
        status = entry.status
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        info = tarfile.TarInfo(entry.path)
        info.type = kind
        info.mode = stat.S_IMODE(status.st_mode)
        info.uid, info.gid = self._id(status.st_uid), self._id(status.st_gid)
        info.mtime = status.st_mtime_ns / 1e9
        if status.st_mtime_ns % 1_000_000_000 == 0:
            info.mtime = status.st_mtime_ns // 1_000_000_000
        if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        if kind == tarfile.SYMTYPE:
            info.linkname = os.readlink(entry.name, dir_fd=entry.folder)
            yield _header(info)
        elif kind == tarfile.REGTYPE:
            yield from self._file(entry, info)
        elif kind == tarfile.DIRTYPE:
            yield _header(info, self._attributes(entry))
        else:
            yield _header(info)

    def _id(self, host_id: int) -> int:
        return host_id - self._first_id if host_id in self._ids else host_id

    def _file(self, entry: Entry, info: tarfile.TarInfo) -> Iterator[bytes]:
        key = (entry.status.st_dev, entry.status.st_ino)
        if entry.status.st_nlink > 1:
            if first := self._linked.get(key):
                info.type, info.linkname = tarfile.LNKTYPE, first
                yield _header(info)
                return
            self._linked[key] = entry.path
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(entry.name, flags, dir_fd=entry.folder)
        try:
            left = info.size = os.fstat(fd).st_size
            yield _header(info, _attributes(fd))
            while left:  # a file that shrinks meanwhile is filled up: the header has gone out
                piece = os.read(fd, min(left, _CHUNK)) or bytes(min(left, _CHUNK))
                left -= len(piece)
                yield piece
        finally:
            os.close(fd)
        yield bytes(-info.size % tarfile.BLOCKSIZE)

    def _attributes(self, entry: Entry) -> dict[str, str]:
        fd = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.folder)
        try:
            return _attributes(fd)
        finally:
            os.close(fd)

    def end(self) -> bytes:
        """The two blocks of zeros."""
        return bytes(2 * tarfile.BLOCKSIZE)


def _attributes(fd: int) -> dict[str, str]:
    try:
        names = [name for name in os.listxattr(fd) if name.startswith(_KEPT)]
        names = [name for name in names if not name.startswith("user.overlay.")]
        return {
            f"SCHILY.xattr.{name}": os.getxattr(fd, name).decode("utf-8", "surrogateescape")
            for name in names
        }
    except OSError:
        return {}


def _header(info: tarfile.TarInfo, attributes: dict[str, str] | None = None) -> bytes:
    info.pax_headers = attributes or {}
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
