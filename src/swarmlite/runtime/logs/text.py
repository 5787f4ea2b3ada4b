"""Lines as the text that `logs` prints: many of them in one piece."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from swarmlite.runtime.logs.blocks import columns, joined, written
from swarmlite.runtime.logs.lines import LogLine, merged_block


@dataclass(frozen=True)
class Form:
    """What stands before each line: its time, what its log driver kept of the container."""

    timestamps: bool = False
    details: bool = False
    whole: bool = False
    """Lines of several logs are to alternate: parts of a long one are joined in any case."""

    @property
    def bare(self) -> bool:
        """Nothing does: parts of a long line may go out as they come."""
        return not (self.timestamps or self.details or self.whole)


class Texts:
    """Makes pieces of text of one log, each of one stream: a LogLine without a time."""

    def __init__(self, form: Form) -> None:
        """For one reading: it knows which streams are in the middle of a line."""
        self._form = form
        self._within: set[str] = set()

    def of_block(
        self, block: bytes, since_ns: int | None, until_ns: int | None
    ) -> list[LogLine] | None:
        """A block of the file at once; None where lines have to be looked at one by one."""
        form, timed = self._form, since_ns is not None or until_ns is not None
        found = columns(block)
        if found is None:
            return merged_block(block) if form.bare and not timed else None
        if (timed or not form.bare) and (self._within or not found.ended()):
            return None
        if since_ns is not None and min(found.times) < written(since_ns):
            return [] if max(found.times) < written(since_ns) else None
        if until_ns is not None and max(found.times) > written(until_ns):
            return None
        said = b""
        if form.details:
            said = _said_once(found.attrs)
        texts = joined(found, said, timestamps=form.timestamps)
        return None if texts is None else [LogLine(0, stream, data) for stream, data in texts]

    def of_lines(self, lines: Iterable[LogLine]) -> list[LogLine]:
        """Of lines, the last of which may be pieces of one that is too long."""
        return [
            LogLine(0, stream, b"".join([self._with_prefix(line) for line in run]))
            for stream, run in itertools.groupby(lines, lambda line: line.stream)
        ]

    def _with_prefix(self, line: LogLine) -> bytes:
        goes_on = line.stream in self._within
        if line.data.endswith(b"\n"):
            self._within.discard(line.stream)
        else:
            self._within.add(line.stream)
        if goes_on:
            return line.data
        time = written(line.time_ns) + b" " if self._form.timestamps else b""
        return time + (_said(line.attrs) if self._form.details else b"") + line.data


def _said(attrs: Mapping[str, str]) -> bytes:
    """Labels, tag and env: "a=1,b=2 ", as --details prints them."""
    pairs = [f"{quote(key, safe='')}={quote(text, safe='')}" for key, text in sorted(attrs.items())]
    return f"{','.join(pairs)} ".encode()


@functools.lru_cache(16)
def _said_once(attrs: bytes) -> bytes:
    return _said(json.loads(attrs or b"{}"))
