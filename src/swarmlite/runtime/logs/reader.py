"""One reading of a log, from where it was asked to begin, by whatever thread calls it."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from swarmlite.runtime.logs import files, tails
from swarmlite.runtime.logs.files import LogFile
from swarmlite.runtime.logs.lines import Joiner, LogLine, parse_block, parse_line
from swarmlite.runtime.logs.text import Form, Texts


@dataclass(frozen=True)
class Selection:
    """What is wanted of a log: `tail` is -1 for all lines; times are nanoseconds.

    `text`: neighbouring lines of one stream as one piece of text in this form, without a time.
    """

    tail: int = -1
    since_ns: int | None = None
    until_ns: int | None = None
    text: Form | None = None


class Reader:
    """Calls block: one thread at a time, but for `stop`, `grown` and `rest`, which never do."""

    def __init__(self, path: Path, selection: Selection) -> None:
        """Nothing is opened before the first call of `next_batch`."""
        self._path, self._selection = path, selection
        self._lock = threading.Lock()
        self._stopped = False
        self._begun = False
        self._files: list[LogFile] = []  # still to be read, the one being written first
        self._joiner = Joiner()
        self._texts = None if selection.text is None else Texts(selection.text)
        self._skip = 0
        self._last = b""  # entry that was read
        self.over = False

    # what the loop's own thread calls
    def stop(self) -> None:
        """Nobody reads on; files are closed, by the thread that is reading if there is one."""
        self._stopped = True
        if self._lock.acquire(blocking=False):
            self._close()
            self._lock.release()

    def grown(self) -> bool:
        """Whether there is something new to read; costs two system calls."""
        if not self._files:
            return self._path.exists()
        file = self._files[0]
        if len(self._files) > 1 or file.grown():
            return True
        try:
            return os.stat(self._path).st_ino != file.inode  # noqa: PTH116
        except FileNotFoundError:
            return False

    def rest(self) -> list[LogLine]:
        """Lines that were begun and not ended, when no more is to come."""
        return self._shaped(self._wanted(self._joiner.rest()))

    # what a thread calls
    def next_batch(self) -> list[LogLine]:
        """The next lines; empty when there are none for now, or `over`. Raises OSError."""
        with self._lock:
            try:
                return [] if self._stopped else self._next()
            finally:
                if self._stopped:
                    self._close()

    def begin(self) -> None:
        """Find where the reading begins, if that is not found yet. Raises OSError."""
        with self._lock:
            if not self._begun and not self._stopped:
                self._begun = True
                self._begin()
            if self._stopped:
                self._close()

    def _next(self) -> list[LogLine]:
        if not self._begun:
            self._begun = True
            self._begin()
        while not self._stopped and not self.over:
            block = self._block()
            if not block:
                return []
            lines = self._lines(block)
            if lines:
                return lines
        return []

    def _begin(self) -> None:
        tail, since_ns = self._selection.tail, self._selection.since_ns
        self._files = files.open_all(self._path)
        wanted = tail
        for index, file in enumerate(self._files):
            if index and since_ns is not None and file.modified_ns < since_ns:
                self._drop(index)
                return
            if tail == 0:
                tails.skip_all(file)
                self._drop(1)
                return
            if tail > 0:
                finder = tails.seek_last(file, wanted, index == 0, lambda: self._stopped)
                wanted -= finder.found
                if finder.place is not None:
                    self._skip = finder.skip
                    self._drop(index + 1)
                    return

    def _drop(self, first: int) -> None:
        """Older files that are not wanted."""
        for file in self._files[first:]:
            file.close()
        del self._files[first:]

    def _block(self) -> bytes:
        """Whole lines from the oldest file, on to the next one at its end."""
        while True:
            if not self._files:
                self._files = files.open_all(self._path)[:1]
                if not self._files:
                    return b""
            block = self._files[-1].block()
            if block:
                return block
            if len(self._files) == 1:
                newer = self._newer()
                if not newer:
                    return b""
                self._files = [*newer, *self._files]
                if block := self._files[-1].block():  # written between our two looks
                    return block
            self._files.pop().close()

    def _newer(self) -> list[LogFile]:
        """The files that came after the one that was being written, the newest first."""
        mine = self._files[0].inode
        try:
            if os.stat(self._path).st_ino == mine:  # noqa: PTH116
                return []
        except FileNotFoundError:
            return []
        found = files.open_all(self._path)
        own = next((index for index, file in enumerate(found) if file.inode == mine), None)
        if own is None:  # dropped, or compressed into another file: by the time of its last line
            last = parse_line(self._last)
            own = len(found)
            for index, file in enumerate(found):
                if last is None:
                    read = file.compressed
                else:
                    begins_ns = file.begins_ns()
                    read = begins_ns is not None and begins_ns <= last.time_ns
                if read:
                    own = index
                    break
        for file in found[own:]:
            file.close()
        return found[:own]

    def _lines(self, block: bytes) -> list[LogLine]:
        self._last = block[block.rfind(b"\n", 0, len(block) - 1) + 1 :]
        if self._texts is not None and not self._skip and not self._joiner.open:
            selection = self._selection
            texts = self._texts.of_block(block, selection.since_ns, selection.until_ns)
            if texts is not None:
                return texts
        lines = list(self._joiner.join(parse_block(block)))
        if self._skip:
            skipped = min(self._skip, len(lines))
            self._skip -= skipped
            del lines[:skipped]
        return self._shaped(self._wanted(lines))

    def _shaped(self, lines: list[LogLine]) -> list[LogLine]:
        return lines if self._texts is None else self._texts.of_lines(lines)

    def _wanted(self, lines: list[LogLine]) -> list[LogLine]:
        since_ns, until_ns = self._selection.since_ns, self._selection.until_ns
        if since_ns is not None:
            lines = [line for line in lines if line.time_ns >= since_ns]
        if until_ns is not None and lines and lines[-1].time_ns > until_ns:
            self.over = True
            lines = [line for line in lines if line.time_ns <= until_ns]
        return lines

    def _close(self) -> None:
        for file in self._files:
            file.close()
        self._files = []
