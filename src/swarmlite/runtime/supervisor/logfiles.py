"""Log files: what containers write, as JSON lines, rotated by size (runtime/logs.py reads them).

The supervisor reads a bounded number of bytes of each container a round, so that a flood slows its
own writer down (the pipe fills) and nobody else. A disk that is full loses lines, never the loop.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from json.encoder import encode_basestring

from swarmlite.kernel import processes

READ_BYTES = 16 << 10  # a round's share of one stream
MAX_LINE_BYTES = 16 << 10
DRAIN_BYTES = 1 << 20  # at most so much when the process has ended: a pipe holds less


def timestamp() -> str:
    """Now, as RFC 3339 with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


class LogWriter:
    """One container's file; `lost_bytes` counts what a full disk swallowed."""

    def __init__(self, path: str, max_bytes: int, max_files: int, compress: bool) -> None:
        self.path = path
        self.max_bytes, self.max_files, self.compress = max_bytes, max(1, max_files), compress
        self.lost_bytes = 0
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size

    def write(self, stream: str, lines: list[bytes]) -> None:
        """Append lines, each with its newline or cut; rotates when the file is full."""
        end = f',"stream":"{stream}","time":"{timestamp()}"}}\n'
        text = "".join(
            f'{{"log":{encode_basestring(line.decode("utf-8", "replace"))}{end}' for line in lines
        )
        data = text.encode()
        if self._size and self.max_bytes > 0 and self._size + len(data) > self.max_bytes:
            self._rotate()
        try:
            self._size += os.write(self._fd, data)
        except OSError:
            self.lost_bytes += len(data)

    def _rotate(self) -> None:
        suffix = ".gz" if self.compress else ""
        try:
            os.close(self._fd)
            for number in range(self.max_files - 1, 1, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(  # noqa: PTH104
                        f"{self.path}.{number - 1}{suffix}", f"{self.path}.{number}{suffix}"
                    )
            if self.max_files == 1:
                os.unlink(self.path)  # noqa: PTH108
            else:
                os.rename(self.path, f"{self.path}.1")  # noqa: PTH104
        finally:
            self._open()
        if self.compress and self.max_files > 1:
            _compress(f"{self.path}.1")

    def close(self) -> None:
        """No more lines come."""
        os.close(self._fd)


class Stream:
    """One end of a container's output: bytes in, whole lines to the writer."""

    def __init__(self, fd: int, name: str, writer: LogWriter | None) -> None:
        self.fd, self.name, self.writer = fd, name, writer
        self._rest = b""

    def read(self) -> bool:
        """A round's share; False at the end of file."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:  # EIO: a pty whose other end is closed
            data = b""
        if not data:
            self._flush()
            return False
        if self.writer is None:
            return True
        *lines, self._rest = (self._rest + data).split(b"\n")
        whole = [line + b"\n" for line in lines]
        while len(self._rest) >= MAX_LINE_BYTES:
            whole.append(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]
        if whole:
            self.writer.write(self.name, whole)
        return True

    def drain(self) -> None:
        """What the pipe still holds; the process is gone."""
        before = -1
        total = 0
        while total < DRAIN_BYTES and before != 0:
            before = _available(self.fd)
            if before and not self.read():
                return
            total += READ_BYTES
        self._flush()

    def _flush(self) -> None:
        if self._rest and self.writer is not None:
            self.writer.write(self.name, [self._rest])
        self._rest = b""


def _available(fd: int) -> int:
    data = fcntl.ioctl(fd, 0x541B, b"\0\0\0\0")  # FIONREAD
    return int(struct.unpack("i", data)[0])


def _compress(path: str) -> None:
    """In a process of its own (the supervisor reaps it): a big file takes a second."""
    if processes.clone(0) != 0:
        return
    try:
        processes.close_range(3)
        import gzip
        import shutil

        os.nice(10)
        new = f"{path}.{os.getpid()}"
        try:
            with open(path, "rb") as source, gzip.open(new, "wb") as target:  # noqa: PTH123
                shutil.copyfileobj(source, target)
                inode = os.fstat(source.fileno()).st_ino
            # A flood may have rotated again meanwhile: then the file that is there now has its own
            # process, which may be done with it, and this one's content is no longer wanted.
            if os.stat(path).st_ino == inode:  # noqa: PTH116
                os.rename(new, path + ".gz")  # noqa: PTH104
                os.unlink(path)  # noqa: PTH108
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)  # noqa: PTH108
    finally:
        os._exit(0)
