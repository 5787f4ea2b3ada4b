"""Rotation of the logs that processes of a node write by themselves, while they write.

Whoever writes NAME.log holds it open to append and knows of nothing; the supervisor even outlives
the daemon. So a log that is full is copied to NAME.log.1 (the former .1 to .2, and so on) and then
emptied: the writer goes on at the new end. What is written between the end of the copy and the
emptying, some microseconds, is lost. Single-threaded like the daemon, and in steps of a MiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

MAX_BYTES = 20 * 1024 * 1024
KEPT = 2
"""Rotated files of each log, beside the one that is written."""
LOOK_EVERY_S = 2.0
_STEP_BYTES = 1024 * 1024


class LogRotation:
    """Keeps every *.log of a folder below a size, and a few rotated ones of each."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = MAX_BYTES,
        kept: int = KEPT,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """`max_bytes` may be passed by what comes between two looks; a copy is at most twice it."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._kept = kept
        self._look_every_s = look_every_s

    async def run(self) -> None:
        """Ends only by cancellation, and leaves at most a part of a copy, which the next ends."""
        while True:
            await self.turn()
            await asyncio.sleep(self._look_every_s)

    async def turn(self) -> None:
        """Rotate what is full. What a disk refuses is logged, and the log emptied all the same."""
        for path in self._folder.glob("*.log"):
            try:
                if path.stat().st_size > self._max_bytes:
                    await self._rotate(path)
            except OSError as error:
                log.warning("%s cannot be rotated: %s", path, error)

    async def _rotate(self, path: Path) -> None:
        numbered = [path.with_name(f"{path.name}.{n}") for n in range(1, self._kept + 1)]
        numbered[-1].unlink(missing_ok=True)  # first: its room may be needed
        scratch = path.with_name(f"{path.name}.new")
        with path.open("r+b") as source:
            try:
                with scratch.open("wb") as copy:
                    await self._copy(source.fileno(), copy.fileno())
            except OSError as error:
                scratch.unlink(missing_ok=True)
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                log.warning("%s is emptied without a copy: %s", path, error.strerror)
            os.ftruncate(source.fileno(), 0)
        if scratch.exists():
            for older, newer in zip(reversed(numbered), reversed(numbered[:-1]), strict=False):
                with contextlib.suppress(FileNotFoundError):
                    newer.rename(older)
            scratch.rename(numbered[0])

    async def _copy(self, source: int, target: int) -> None:
        """The last `max_bytes` of the source, and as many that are written to it meanwhile."""
        skipped = max(0, os.fstat(source).st_size - self._max_bytes)
        os.lseek(source, skipped, os.SEEK_SET)
        left = 2 * self._max_bytes
        while data := os.read(source, min(_STEP_BYTES, left)):
            os.write(target, data)
            left -= len(data)
            if len(data) == _STEP_BYTES:
                await asyncio.sleep(0)
