"""From the file's JSON to lines: times, parts joined, several lines as one."""

from __future__ import annotations

import calendar
import functools
import itertools
import json
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

MAX_JOINED_BYTES = 1 << 18
"""A line that is longer comes in pieces of this size, of which only the last ends in a newline."""

_TEXT, _STREAM = operator.itemgetter("log"), operator.itemgetter("stream")
_NONE: Mapping[str, str] = {}
_END = b'","'  # what follows the text of a line: quotes inside of it are escaped


class LogLine(NamedTuple):
    """One line as the container wrote it; `data` ends in a newline unless it was cut.

    Times are nanoseconds since the epoch; that of a line in parts is its first part's.
    """

    time_ns: int
    stream: str  # "stdout" or "stderr"
    data: bytes
    attrs: Mapping[str, str] = _NONE

    @property
    def time(self) -> float:
        """Seconds since the epoch."""
        return self.time_ns / 1e9


@functools.lru_cache(64)
def _seconds(text: str) -> int:
    date, _, clock = text.partition("T")
    year, month, day = (int(part) for part in date.split("-"))
    hour, minute, second = (int(part) for part in clock.split(":"))
    return calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0))


@functools.lru_cache(256)  # lines that were read at once have one time
def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of `2024-05-01T12:00:00.123456789Z`; raises ValueError."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return _seconds(whole) * 10**9 + int((fraction or "0").ljust(9, "0")[:9])


def parse_line(raw: bytes) -> LogLine | None:
    """One line of the file; None for what is none (a torn write after a power cut)."""
    try:
        return _line(json.loads(raw))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _line(entry: dict[str, Any]) -> LogLine:
    return LogLine(
        parse_time(entry["time"]),
        entry["stream"],
        entry["log"].encode("utf-8", "surrogateescape"),
        entry.get("attrs") or _NONE,
    )


def parse_block(block: bytes) -> list[LogLine]:
    """Whole lines of the file; what is none is left out."""
    try:
        entries = json.loads(b"[" + block.rstrip(b"\n").replace(b"\n", b",") + b"]")
        return [_line(entry) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError):
        found = (parse_line(raw) for raw in block.split(b"\n"))
        return [line for line in found if line is not None]


def ends(raw: bytes) -> bool:
    r"""Whether a line of the file ends a line of the log: `...\n","stream":...`, not parsed."""
    place = raw.find(_END, 7) - 1
    if place < 1 or raw[place] != 0x6E:  # n
        return False
    first = place
    while raw[first - 1] == 0x5C:  # an escaped backslash before an n is no newline
        first -= 1
    return (place - first) % 2 == 1


class Joiner:
    """Puts the parts of long lines together, of each stream for itself."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[LogLine, list[bytes], int]] = {}

    @property
    def open(self) -> bool:
        """Whether it waits for the rest of a line."""
        return bool(self._open)

    def join(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """Whole lines, in the order in which they end."""
        for line in lines:
            if line.data.endswith(b"\n") and line.stream not in self._open:
                yield line
                continue
            first, parts, size = self._open.pop(line.stream, (line, [], 0))
            parts.append(line.data)
            size += len(line.data)
            if line.data.endswith(b"\n") or size >= MAX_JOINED_BYTES:
                yield first._replace(data=b"".join(parts))
            else:
                self._open[line.stream] = (first, parts, size)

    def rest(self) -> list[LogLine]:
        """Lines that were begun and never ended."""
        left = [first._replace(data=b"".join(parts)) for first, parts, _ in self._open.values()]
        self._open.clear()
        return sorted(left)


def merged_block(block: bytes) -> list[LogLine]:
    """Whole lines of the file, neighbours of one stream as one "line" without a time.

    For a block that `blocks.columns` cannot take apart.
    """
    try:
        entries = json.loads(b"[" + block.rstrip(b"\n").replace(b"\n", b",") + b"]")
        return [
            LogLine(0, stream, "".join(map(_TEXT, group)).encode("utf-8", "surrogateescape"))
            for stream, group in itertools.groupby(entries, _STREAM)
        ]
    except (ValueError, KeyError, TypeError):
        return [
            LogLine(0, stream, b"".join(line.data for line in group))
            for stream, group in itertools.groupby(parse_block(block), lambda line: line.stream)
        ]
