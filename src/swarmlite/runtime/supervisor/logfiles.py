"""Log files: what containers write, as JSON lines, rotated by size (runtime/logs reads them).

Docker's json-file format: `{"log":"text\\n","stream":"stdout","time":"..."}`, with `"attrs"` before
the time where some were asked for. A disk that is full loses lines, never the loop.
"""

from __future__ import annotations

import contextlib
import os
import time
from json import dumps
from json.encoder import encode_basestring

from swarmlite.kernel import processes
from swarmlite.runtime.supervisor.lines import Log


def timestamp() -> str:
    """Now, as RFC 3339 with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


def say(text: str) -> None:
    """One line to the supervisor's own log."""
    with contextlib.suppress(OSError):
        os.write(2, f"swarmlite-supervisor: {text}\n".encode())


class FileLog(Log):
    """One container's file; `lost_bytes` counts what a full disk swallowed. OSError if not made."""

    def __init__(
        self,
        path: str,
        max_bytes: int,
        max_files: int,
        compress: bool,
        attrs: dict[str, str] | None = None,
    ) -> None:
        self.path = path
        self.max_bytes, self.max_files, self.compress = max_bytes, max(1, max_files), compress
        self.lost_bytes = 0
        self._attrs = f',"attrs":{dumps(attrs, separators=(",", ":"))}' if attrs else ""
        self._fd = -1
        self._size = 0
        self._torn = False
        self._compressing = self._compress_again = False
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size

    def write(self, stream: str, lines: list[bytes]) -> None:
        """Append lines, each with its newline or cut; rotates when the file is full."""
        end = f',"stream":"{stream}"{self._attrs},"time":"{timestamp()}"}}\n'
        text = "".join(
            f'{{"log":{encode_basestring(line.decode("utf-8", "replace"))}{end}' for line in lines
        )
        data = text.encode()
        try:
            if self._fd < 0:  # the last rotation could not open a new file
                self._open()
            if self._size and self.max_bytes > 0 and self._size + len(data) > self.max_bytes:
                self._rotate()
            if self._torn:
                data = b"\n" + data
            written = os.write(self._fd, data)
        except OSError as error:
            self._lost(len(data), error.strerror or str(error))
            return
        self._size += written
        self._torn = written < len(data)
        if self._torn:
            self._lost(len(data) - written, "No space left on device")
        elif self.lost_bytes:
            say(f"{self.path}: {self.lost_bytes} bytes of output were lost")
            self.lost_bytes = 0

    def _lost(self, count: int, why: str) -> None:
        if not self.lost_bytes:
            say(f"{self.path}: output is being lost: {why}")
        self.lost_bytes += count

    def _rotate(self) -> None:
        """The number is forgotten before anything can fail: it may soon be someone else's file."""
        fd, self._fd = self._fd, -1
        try:
            self._shift()
        except OSError:
            os.ftruncate(fd, 0)  # it cannot be moved away: better short than without end
        finally:
            os.close(fd)
        self._open()
        if self.compress and self.max_files > 1:
            self._compress()

    def _compress(self) -> None:
        """One process at a time: in a flood files are rotated faster than they are compressed."""
        self._compress_again = self._compressing
        if self._compressing:
            return
        try:
            _compressing[_compress(f"{self.path}.1")] = self
        except OSError as error:  # no more processes: the file stays as it is
            say(f"{self.path}.1 is not compressed: {error.strerror}")
        else:
            self._compressing = True

    def compressed(self) -> None:
        """Its process has ended: the file that came meanwhile is next."""
        self._compressing = False
        if self._compress_again:
            self._compress()

    def _shift(self) -> None:
        """path.1 to path.2 and so on, the oldest goes; compressed or (not yet) not."""
        if self.max_files == 1:
            os.unlink(self.path)  # noqa: PTH108
            return
        for suffix in ("", ".gz"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.path}.{self.max_files - 1}{suffix}")  # noqa: PTH108
            for number in range(self.max_files - 1, 1, -1):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(  # noqa: PTH104
                        f"{self.path}.{number - 1}{suffix}", f"{self.path}.{number}{suffix}"
                    )
        os.rename(self.path, f"{self.path}.1")  # noqa: PTH104

    def close(self) -> None:
        """No more lines come."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


_compressing: dict[int, FileLog] = {}


def reaped(pid: int) -> bool:
    """Whether this child, which has ended, was one that compressed a file."""
    log = _compressing.pop(pid, None)
    if log is not None:
        log.compressed()
    return log is not None


def _compress(path: str) -> int:
    """In a process of its own, for a big file takes a second; the supervisor reaps its pid."""
    pid = processes.clone(0)
    if pid != 0:
        return pid
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
