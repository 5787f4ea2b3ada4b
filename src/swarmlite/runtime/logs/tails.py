"""Where the last lines of a log begin: counted backwards, in lines and not in their parts."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable

from swarmlite.runtime.logs.files import BLOCK_BYTES, LogFile
from swarmlite.runtime.logs.lines import ends

Stopped = Callable[[], bool]
"""Asked between blocks: whether nobody waits for the answer any more."""

STREAMS = 2
LOOK_BACK = 64  # entries before the place, for the head of a line of the other stream
_ERR, _ENDS = 1, 2  # flags beside a place


class Finder:
    """Is shown a file's entries from the last one backwards; see `place` and `skip` in the end.

    place: where to begin, None when all that was shown is wanted. skip: how many lines that end
    behind the place are too many: they stand between the parts of one that is wanted. found: how
    many of the lines asked for it has met.
    """

    def __init__(self, count: int, newest: bool) -> None:
        """`newest`: its unended parts are lines of their own, not heads of what follows."""
        self._count, self._newest = count, newest
        self.found = self.skip = 0
        self.place: int | None = None
        self._met: set[bool] = set()
        self._whole: set[bool] = set()
        self._looked = self._ended = 0

    def show(self, begin: int, end: int, ended: bool, stderr: bool) -> bool:
        """The next entry; True when enough has been seen."""
        if self.place is None:
            unended = not ended and self._newest and stderr not in self._met
            if unended or (ended and self.found < self._count):
                self.found += 1
            elif ended:
                self.place = end
            self._met.add(stderr)
            if self.place is None:
                return False
        self._looked += 1
        if stderr not in self._whole:
            if ended:
                self._whole.add(stderr)
            else:  # the head of a line that goes on behind the place
                self.place, self.skip = begin, self._ended
        self._ended += ended
        return len(self._whole) == STREAMS or self._looked >= LOOK_BACK


def seek_last(file: LogFile, count: int, newest: bool, stopped: Stopped) -> Finder:
    """Place the file at its last `count` lines, or at its beginning when it has no more."""
    finder = Finder(count, newest)
    if file.compressed:
        _look_through(file, finder, stopped)
    else:
        _look_back(file, finder, stopped)
    file.rest = b""
    file.file.seek(finder.place or 0)
    return finder


def skip_all(file: LogFile) -> None:
    """Place it behind its last whole entry."""
    finder = Finder(0, False)
    _look_back(file, finder, lambda: False, only_end=True)
    file.raw.seek(finder.place or 0)


def _look_back(file: LogFile, finder: Finder, stopped: Stopped, *, only_end: bool = False) -> None:
    """From the end, a block at a time; the head of each is left for the next one."""
    handle = file.raw.fileno()
    end = os.fstat(handle).st_size
    tail = b""
    first = True
    while end > 0 and not stopped():
        start = max(0, end - BLOCK_BYTES)
        block = os.pread(handle, end - start, start) + tail
        head = 0 if start == 0 else block.find(b"\n") + 1
        place = len(block)
        if first:  # what is being written is no entry yet
            place = block.rfind(b"\n") + 1
            first = place == 0
        if only_end and place:
            finder.place = start + place
            return
        while place > head:
            begin = max(head, block.rfind(b"\n", head, place - 1) + 1)
            raw = block[begin:place]
            if finder.show(start + begin, start + place, ends(raw), _of_stderr(raw)):
                return
            place = begin
        tail, end = block[:head], start


def _look_through(file: LogFile, finder: Finder, stopped: Stopped) -> None:
    """Once through a compressed file, to remember where its entries begin."""
    places = array("Q")
    place = 0
    while (block := file.block()) and not stopped():
        for raw in block.splitlines(keepends=True):
            places.append(place << 2 | ends(raw) * _ENDS | _of_stderr(raw) * _ERR)
            place += len(raw)
    for entry in reversed(places):
        if finder.show(entry >> 2, place, bool(entry & _ENDS), bool(entry & _ERR)):
            return
        place = entry >> 2


def _of_stderr(raw: bytes) -> bool:
    return raw.find(b'","stream":"stderr"') > 0
