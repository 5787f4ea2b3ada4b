"""The files of one log: opened once, whatever rotation does to their names then."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from swarmlite.runtime.logs.lines import parse_line

BLOCK_BYTES = 1 << 18
MAX_FILES = 1000


class LogFile:
    """One file of a log, opened; rotation may move it, compression unlink it meanwhile."""

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError."""
        self.raw = path.open("rb")
        status = os.fstat(self.raw.fileno())
        self.inode, self.modified_ns = status.st_ino, status.st_mtime_ns
        self.compressed = path.suffix == ".gz"
        self.file: BinaryIO = self.raw
        if self.compressed:
            self.file = gzip.GzipFile(fileobj=self.raw, mode="rb")  # type: ignore[assignment]
        self.rest = b""

    def block(self, size: int = BLOCK_BYTES) -> bytes:
        """Whole lines from here on, read again; empty when there are none (yet)."""
        while data := self.file.read(size):
            data = self.rest + data
            cut = data.rfind(b"\n") + 1
            self.rest = data[cut:]
            if cut:
                return data[:cut]
        return b""

    def begins_ns(self) -> int | None:
        """The time of its first line, None when it has none; before anything was read."""
        line = parse_line(self.file.readline(BLOCK_BYTES))
        self.file.seek(0)
        return None if line is None else line.time_ns

    def grown(self) -> bool:
        """Whether there is more to read."""
        return self.raw.tell() < os.fstat(self.raw.fileno()).st_size

    def close(self) -> None:
        """Also the file below a compressed one."""
        self.file.close()
        self.raw.close()


def newest_first(path: Path) -> Iterator[Path]:
    """The names under which a log's files lie now, that being written first."""
    if path.exists():
        yield path
    for number in range(1, MAX_FILES):
        for candidate in (Path(f"{path}.{number}"), Path(f"{path}.{number}.gz")):
            if candidate.exists():
                yield candidate
                break
        else:
            return


def open_all(path: Path) -> list[LogFile]:
    """Every file of a log, the newest first: they stay the same, whatever rotation does then."""
    files: list[LogFile] = []
    for candidate in newest_first(path):
        try:
            file = LogFile(candidate)
        except FileNotFoundError:
            continue
        if any(other.inode == file.inode for other in files):
            file.close()  # rotated between two of our looks
        else:
            files.append(file)
    return files
