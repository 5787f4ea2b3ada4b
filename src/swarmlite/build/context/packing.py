"""A folder as the stream of a tar: what the patterns leave in it, as root's, sorted.

Modes, links (hard ones too), whole seconds and file capabilities are kept. Sockets and devices are
left out. A folder that is left out comes along if something in it does not.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from swarmlite.build.context.patterns import Patterns, Verdict
from swarmlite.errors import InvalidSpec

CHUNK_BYTES = 512 * 1024
_CAPABILITY = "security.capability"
_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
Hear = Callable[[str], None]


def packed(folder: Path, patterns: Patterns, warn: Hear, without: str = "") -> Iterator[bytes]:
    """The tar, in chunks of half a MiB or less; `warn` hears of what cannot be in it.

    `without` is the name of one thing at the top that is not packed. Raises InvalidSpec, with the
    path, for what cannot be read.
    """
    return _gathered(_Packer(folder, patterns, warn).stream(without))


def _gathered(parts: Iterable[bytes]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


@dataclass
class _Folder:
    """One on the way down, with what is left of it; `shown` once it is in the tar."""

    name: str
    verdict: Verdict | None
    entries: Iterator[str]
    status: os.stat_result | None = None
    shown: bool = True


class _Packer:
    def __init__(self, root: Path, patterns: Patterns, warn: Hear) -> None:
        self._root, self._patterns, self._warn = root, patterns, warn
        self._linked: dict[tuple[int, int], str] = {}

    def stream(self, without: str) -> Iterator[bytes]:
        top = [name for name in self._names("") if name != without]
        way = [_Folder("", None, iter(top))]
        while way:
            entry = next(way[-1].entries, None)
            if entry is None:
                way.pop()
                continue
            folder = way[-1]
            name = f"{folder.name}/{entry}" if folder.name else entry
            verdict = self._patterns.judge(name, folder.verdict)
            status = self._status(name)
            if status is None:
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            if is_folder and (not verdict.excluded or self._patterns.may_take_back(name)):
                way.append(_Folder(name, verdict, iter(self._names(name)), status, shown=False))
                if verdict.excluded:
                    continue
            if verdict.excluded:
                continue
            for above in way:
                if not above.shown and above.status is not None:
                    yield from self._member(above.name, above.status)
                    above.shown = True
            if not is_folder:
                yield from self._member(name, status)
        yield b"\0" * (2 * tarfile.BLOCKSIZE)

    def _names(self, name: str) -> list[str]:
        try:
            with os.scandir(self._root / name) as entries:
                return sorted(entry.name for entry in entries)
        except OSError as error:
            if name and error.errno in (errno.ENOENT, errno.ENOTDIR):
                return []  # it went while the context was read
            raise _unreadable(name or ".", error) from error

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return (self._root / name).lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(name, error) from error

    def _member(self, name: str, status: os.stat_result) -> Iterator[bytes]:
        kind = _TYPES.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            what = "socket" if stat.S_ISSOCK(status.st_mode) else "device"
            self._warn(f"context: {_shown(name)} is left out: a {what} cannot be in an image")
            return
        info = tarfile.TarInfo(name)
        info.type, info.mode = kind, stat.S_IMODE(status.st_mode)
        info.mtime = int(status.st_mtime)
        if kind == tarfile.REGTYPE:
            yield from self._file(info, status)
            return
        if kind == tarfile.SYMTYPE:
            try:
                info.linkname = str((self._root / name).readlink())
            except OSError as error:
                raise _unreadable(name, error) from error
        yield _header(info)

    def _file(self, info: tarfile.TarInfo, status: os.stat_result) -> Iterator[bytes]:
        key = status.st_dev, status.st_ino
        first = self._linked.setdefault(key, info.name) if status.st_nlink > 1 else info.name
        if first != info.name:
            info.type, info.linkname = tarfile.LNKTYPE, first
            yield _header(info)
            return
        path = self._root / info.name
        try:
            # Whatever is there by now: a pipe would hold the opening for ever.
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(info.name, error) from error
        with os.fdopen(fd, "rb", buffering=0) as stream:
            if (now := os.fstat(fd)).st_ino != status.st_ino or not stat.S_ISREG(now.st_mode):
                raise InvalidSpec(f"context: {_shown(info.name)} changed while it was read")
            info.size = now.st_size
            yield _header(info, _capability(fd))
            yield from self._content(stream.read, info)

    @staticmethod
    def _content(read: Callable[[int], bytes | None], info: tarfile.TarInfo) -> Iterator[bytes]:
        left = info.size
        while left:
            try:
                chunk = read(min(CHUNK_BYTES, left))
            except OSError as error:
                raise _unreadable(info.name, error) from error
            if not chunk:
                raise InvalidSpec(f"context: {_shown(info.name)} became shorter while it was read")
            left -= len(chunk)
            yield chunk
        yield b"\0" * (-info.size % tarfile.BLOCKSIZE)


def _header(info: tarfile.TarInfo, capability: bytes = b"") -> bytes:
    if capability:
        # The text of a record is bytes: surrogates are what they are written as.
        text = capability.decode("utf-8", "surrogateescape")
        info.pax_headers = {f"SCHILY.xattr.{_CAPABILITY}": text}
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _capability(fd: int) -> bytes:
    try:
        return os.getxattr(fd, _CAPABILITY)
    except OSError:  # none, or a file system that has none
        return b""


def _unreadable(name: str, error: OSError) -> InvalidSpec:
    return InvalidSpec(
        f"context: {_shown(name)} cannot be read: {error.strerror}; leave it out by .dockerignore,"
        " or make it readable"
    )


def _shown(name: str) -> str:
    """A path on one line, whatever is in it."""
    return name if name.isprintable() else repr(name)
