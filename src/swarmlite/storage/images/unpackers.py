"""Processes that unpack layers: an image's layers share them, for each takes a while to start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

_UNPACKER = Path(__file__).with_name("unpack") / "__main__.py"
_MAX_ANSWER = 64 << 20  # bytes: it names every directory without a member


class Unpackers:
    """The processes of one store, on one event loop; none is left when nobody is `busy`."""

    def __init__(self) -> None:
        self._idle: list[asyncio.subprocess.Process] = []
        self._busy = 0

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """More layers are about to come: processes wait for them."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                await self._end(*self._take_all())

    async def run(self, job: dict[str, Any]) -> tuple[bytes, bytes, int | None]:
        """A job's answer; of a process that died, what it wrote to its errors and how it ended.

        Cancelled: its process is killed.
        """
        process = self._idle.pop() if self._idle else await _start()
        keep = False
        try:
            answer = await _ask(process, json.dumps(job).encode() + b"\n")
            if answer.startswith(b'{"ok"'):
                keep = bool(self._busy)
                return answer, b"", 0
            _, errors = await process.communicate()
            return answer, errors, process.returncode
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        finally:
            if keep:
                self._idle.append(process)
            else:
                await self._end(process)

    def _take_all(self) -> list[asyncio.subprocess.Process]:
        taken, self._idle = self._idle, []
        return taken

    async def _end(self, *processes: asyncio.subprocess.Process) -> None:
        """They end with their input; shielded, for whoever is cancelled leaves none behind."""
        await asyncio.shield(asyncio.gather(*map(_ended, processes)))


async def _start() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(_UNPACKER),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={}, cwd="/", limit=_MAX_ANSWER,
    )  # fmt: skip


async def _ended(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    await process.communicate()


async def _ask(process: asyncio.subprocess.Process, line: bytes) -> bytes:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(ConnectionError):  # it died: its end says why
        process.stdin.write(line)
        await process.stdin.drain()
    try:
        return await process.stdout.readline()
    except ValueError:  # longer than a line may be
        process.kill()
        return b'{"big": "the names of its directories are too long"}'
