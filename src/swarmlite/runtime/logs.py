"""Reading a container's log file: the JSON lines that the supervisor writes.

A line is `{"log": "text\\n", "stream": "stdout", "time": "2024-05-01T12:00:00.123456789Z"}`; text
longer than 16 KiB is split over several lines, of which only the last ends in a newline. When the
file is full it becomes path.1, path.1 becomes path.2 (with .gz when compressed), the oldest goes.
"""

from __future__ import annotations

import asyncio
import calendar
import contextlib
import gzip
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

POLL_S = 0.1
BATCH = 256  # lines between two yields to the loop
BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class LogLine:
    """One line as the container wrote it; `data` ends in a newline unless it was cut."""

    time_ns: int
    stream: str  # "stdout" or "stderr"
    data: bytes

    @property
    def time(self) -> float:
        """Seconds since the epoch."""
        return self.time_ns / 1e9


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of `2024-05-01T12:00:00.123456789Z`; raises ValueError."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    date, _, clock = whole.partition("T")
    year, month, day = (int(part) for part in date.split("-"))
    hour, minute, second = (int(part) for part in clock.split(":"))
    seconds = calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0))
    return seconds * 10**9 + int((fraction or "0").ljust(9, "0")[:9])


def parse_line(raw: bytes) -> LogLine | None:
    """One line of the file; None for what is none (a torn write after a power cut)."""
    try:
        entry = json.loads(raw)
        data = entry["log"].encode("utf-8", "surrogateescape")
        return LogLine(parse_time(entry["time"]), entry["stream"], data)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


async def read(
    path: Path,
    *,
    tail: int = -1,
    since: float | None = None,
    follow: bool = False,
    ended: asyncio.Event | None = None,
) -> AsyncIterator[LogLine]:
    """The log's lines, oldest first: the last `tail` (-1 for all) of those not before `since`.

    With `follow` it goes on across rotation until cancelled, or until `ended` is set and all that
    was written has been read. A missing file is an empty one. Lines that rotation threw away
    before they were read are lost.
    """
    since_ns = None if since is None else int(since * 1e9)
    follower = _Follower(path)  # opened first, so that nothing falls between the two readings
    try:
        limit = follower.skip_to_end()
        for count, raw in enumerate(_stored(path, follower, limit, tail), 1):
            line = parse_line(raw)
            if line is not None and (since_ns is None or line.time_ns >= since_ns):
                yield line
            if count % BATCH == 0:
                await asyncio.sleep(0)
        while follow:
            last_round = ended is not None and ended.is_set()
            for raw in follower.new_lines():
                line = parse_line(raw)
                if line is not None and (since_ns is None or line.time_ns >= since_ns):
                    yield line
            if last_round:
                return
            await asyncio.sleep(POLL_S)
    finally:
        follower.close()


class _Follower:
    """The newest file, by descriptor; changes to the next when it has been rotated away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO | None = None
        self.rest = b""
        self._open()

    def _open(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.file = self.path.open("rb")

    def close(self) -> None:
        if self.file is not None:
            self.file.close()

    def inode(self) -> int:
        return os.fstat(self.file.fileno()).st_ino if self.file is not None else 0

    def skip_to_end(self) -> int:
        """Go behind the last whole line; returns that place."""
        if self.file is None:
            return 0
        size = self.file.seek(0, os.SEEK_END)
        for start, block in _blocks_backwards(self.file, size):
            cut = block.rfind(b"\n")
            if cut >= 0:
                return self.file.seek(start + cut + 1)
        return self.file.seek(0)

    def new_lines(self) -> Iterator[bytes]:
        """What was added since the last call, also in files that rotation has moved since."""
        while True:
            if self.file is None:
                self._open()
                if self.file is None:
                    return
            while data := self.file.read(BLOCK_BYTES):
                *lines, self.rest = (self.rest + data).split(b"\n")
                yield from lines
            following = self._following()
            if following is None:
                return
            if tail := self.file.read():  # what came between reading to the end and looking
                *lines, self.rest = (self.rest + tail).split(b"\n")
                yield from lines
            self.file.close()
            self.file, self.rest = following.open("rb"), b""

    def _following(self) -> Path | None:
        """The file that follows the one being read; None while that is still the newest."""
        inode = self.inode()
        newer: Path | None = None
        for candidate in _files_newest_first(self.path):
            try:
                if candidate.stat().st_ino == inode:
                    return newer
            except FileNotFoundError:
                continue
            if candidate.suffix != ".gz":
                newer = candidate
        return newer


def _files_newest_first(path: Path) -> Iterator[Path]:
    if path.exists():
        yield path
    number = 1
    while True:
        for candidate in (Path(f"{path}.{number}"), Path(f"{path}.{number}.gz")):
            if candidate.exists():
                yield candidate
                break
        else:
            return
        number += 1


def _stored(path: Path, follower: _Follower, limit: int, tail: int) -> Iterator[bytes]:
    """Raw lines up to `limit` in the newest file: the last `tail`, or all."""
    if tail == 0 or follower.file is None:
        return
    inode = follower.inode()
    older = [p for p in _files_newest_first(path) if _inode(p) not in (inode, 0)]
    if tail < 0:
        for candidate in reversed(older):
            with contextlib.suppress(FileNotFoundError), _open_any(candidate) as file:
                yield from (line.rstrip(b"\n") for line in file)
        yield from _forwards(follower.file, limit)
        return
    lines: deque[bytes] = deque(_last_lines(follower.file, limit, tail))
    for candidate in older:
        if len(lines) >= tail:
            break
        with contextlib.suppress(FileNotFoundError), _open_any(candidate) as file:
            size = file.seek(0, os.SEEK_END)
            lines.extendleft(reversed(_last_lines(file, size, tail - len(lines))))
    yield from lines


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _open_any(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _forwards(file: BinaryIO, limit: int) -> Iterator[bytes]:
    """Whole lines before `limit`; positions are its own, so the follower's place stays."""
    place, rest = 0, b""
    while place < limit:
        data = os.pread(file.fileno(), min(BLOCK_BYTES, limit - place), place)
        if not data:
            return
        place += len(data)
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _blocks_backwards(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    while end > 0:
        start = max(0, end - BLOCK_BYTES)
        back = file.tell()
        file.seek(start)
        block = file.read(end - start)
        file.seek(back)
        yield start, block
        end = start


def _last_lines(file: BinaryIO, end: int, count: int) -> list[bytes]:
    """The last `count` whole lines before `end`, read from there backwards."""
    data = b""
    for _, block in _blocks_backwards(file, end):
        data = block + data
        if data.count(b"\n") > count:
            break
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines[-count:]
