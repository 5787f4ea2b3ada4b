"""Tars of `cp`: made of files of this host, and unpacked onto it.

An archive from a container is as hostile as the container. It is unpacked below one directory that
its names and links cannot leave (openat2's RESOLVE_IN_ROOT), without devices, and with set-user-id
bits only where the owners are kept too.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from swarmlite.errors import InvalidSpec
from swarmlite.kernel.paths import open_in_root

CHUNK_BYTES = 256 * 1024
_BLOCK = tarfile.BLOCKSIZE


# To a container
def packed(source: Path, name: str, *, follow: bool, keep_owners: bool) -> Iterator[bytes]:
    """The file or tree at `source`, its root called `name`, in chunks. Raises OSError.

    `follow` is of the root only. Sockets are left out, as no archive can hold them.
    """
    root = source.stat() if follow else source.lstat()
    if name:
        yield from _member(source, name, root, keep_owners)
    waiting = [(source, name)] if stat.S_ISDIR(root.st_mode) else []
    while waiting:
        folder, shown = waiting.pop()
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            path = f"{shown}/{entry.name}" if shown else entry.name
            status = entry.stat(follow_symlinks=False)
            yield from _member(Path(entry.path), path, status, keep_owners)
            if stat.S_ISDIR(status.st_mode):
                waiting.append((Path(entry.path), path))
    yield b"\0" * (2 * _BLOCK)


def _member(path: Path, name: str, status: os.stat_result, owners: bool) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(status.st_mode)
    info.mtime = status.st_mtime
    if owners:
        info.uid, info.gid = status.st_uid, status.st_gid
    kind = _TYPES.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return
    info.type = kind
    if kind == tarfile.SYMTYPE:
        info.linkname = str(path.readlink())
    elif kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    elif kind == tarfile.REGTYPE:
        info.size = status.st_size
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if kind == tarfile.REGTYPE:
        yield from _content(path, status.st_size)


_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}


def _content(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with path.open("rb") as stream:
        while left and (chunk := stream.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk
    if left:
        raise InvalidSpec(f"{path}: became shorter while it was read")
    yield b"\0" * (-size % _BLOCK)


# From a container
class ChunkReader:
    """A file object that reads what an iterator of chunks gives."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._rest = iter(chunks), b""
        self.size_bytes = 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; empty at the end."""
        parts, wanted = [], size
        while wanted:
            if not self._rest:
                self._rest = next(self._chunks, b"")
                self.size_bytes += len(self._rest)
                if not self._rest:
                    break
            part = self._rest if wanted < 0 else self._rest[:wanted]
            self._rest = self._rest[len(part) :]
            parts.append(part)
            wanted -= len(part) if wanted > 0 else 0
        return b"".join(parts)


def unpack(
    reader: ChunkReader,
    directory: Path,
    rename: Callable[[str], str],
    *,
    keep_owners: bool,
    skipped: Callable[[str], None],
) -> None:
    """Unpack below `directory`, each member's path put through `rename` ("" leaves it out).

    `skipped` hears of what is not made: devices. Raises InvalidSpec, OSError.
    """
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        stream: Any = reader
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            unpacker = _Unpacker(root, rename, keep_owners, skipped)
            for member in tar:
                unpacker.put(tar, member)
            unpacker.finish()
    except tarfile.TarError as error:
        raise InvalidSpec(f"the container's archive is damaged: {error}") from error
    finally:
        os.close(root)


class _Unpacker:
    def __init__(
        self,
        root: int,
        rename: Callable[[str], str],
        keep_owners: bool,
        skipped: Callable[[str], None],
    ) -> None:
        self._root, self._rename = root, rename
        self._keep_owners, self._skipped = keep_owners, skipped
        self._directories: list[tuple[str, tarfile.TarInfo]] = []

    def put(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """One member."""
        path = self._rename(member.name)
        if not path:
            return
        folder, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            raise InvalidSpec(f"the container's archive names {member.name!r}")
        parent = open_in_root(self._root, folder or ".")
        try:
            self._make(tar, member, parent, name, path)
        finally:
            os.close(parent)

    def finish(self) -> None:
        """Modes and times of directories, which their content would have changed."""
        for path, member in reversed(self._directories):
            folder = open_in_root(self._root, path)
            try:
                self._describe(folder, member)
            finally:
                os.close(folder)

    def _make(
        self, tar: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str, path: str
    ) -> None:
        if member.isdir():
            self._directory(member, parent, name, path)
            return
        if member.isdev() and not member.isfifo():
            self._skipped(member.name)
            return
        if member.isreg():
            content = tar.extractfile(member)
            assert content is not None
            self._file(content, member, parent, name)
            return
        _clear(parent, name)
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
            if self._keep_owners:
                os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        elif member.islnk():
            self._hardlink(member, parent, name)
        elif member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
        else:
            self._skipped(member.name)

    def _directory(self, member: tarfile.TarInfo, parent: int, name: str, path: str) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                raise InvalidSpec(f"cannot overwrite the file {path} with a directory") from None
        self._directories.append((path, member))

    def _file(self, content: IO[bytes], member: tarfile.TarInfo, parent: int, name: str) -> None:
        """Whole or not at all: until then what was there before stays."""
        scratch = f".swarmlite-{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(scratch, flags, 0o600, dir_fd=parent)
        try:
            with os.fdopen(fd, "wb") as stream:
                while chunk := content.read(CHUNK_BYTES):
                    stream.write(chunk)
                stream.flush()
                self._describe(fd, member)
            _clear(parent, name)
            os.rename(scratch, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            os.unlink(scratch, dir_fd=parent)
            raise

    def _hardlink(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        folder, _, source = self._rename(member.linkname).rpartition("/")
        from_folder = open_in_root(self._root, folder or ".")
        try:
            os.link(source, name, src_dir_fd=from_folder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(from_folder)

    def _describe(self, fd: int, member: tarfile.TarInfo) -> None:
        # A set-user-id program of the container's must not become one of root of this host.
        mode = member.mode & (0o7777 if self._keep_owners else 0o1777)
        if self._keep_owners:
            os.fchown(fd, member.uid, member.gid)
        os.fchmod(fd, mode)
        os.utime(fd, (member.mtime, member.mtime))


def _clear(parent: int, name: str) -> None:
    """What is in the way of something that is no directory; a directory itself is not."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        raise InvalidSpec(f"cannot overwrite the directory {name} with a file")
    os.unlink(name, dir_fd=parent)
