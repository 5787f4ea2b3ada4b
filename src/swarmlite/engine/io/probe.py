"""One health test: a command in the container, its output kept to a limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

from swarmlite.engine.io.descriptors import Owned, read_chunks
from swarmlite.errors import NotFound
from swarmlite.runtime.client import Exec, Supervisor

OUTPUT_BYTES = 4096
SIGKILL = 9


async def run_probe(
    client: Supervisor, container_id: str, process: dict[str, Any], timeout_s: float
) -> tuple[int, str]:
    """Exit code and output of `process`; -1 and "timeout" when it was killed for taking too long.

    Raises SwarmliteError when it could not be run. Cancelled: the process is killed.
    """
    with Owned() as owned:
        reader, writer = owned.pipe()
        os.set_blocking(reader, False)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        owned.add(null)
        running = await client.exec(container_id, process, stdin=null, stdout=writer, stderr=writer)
        owned.close(writer)
        return await _ended(running, reader, timeout_s)


async def _ended(process: Exec, reader: int, timeout_s: float) -> tuple[int, str]:
    drain = asyncio.ensure_future(_drain(reader))
    try:
        async with asyncio.timeout(timeout_s):
            code = await process.wait()
        return code, (await _within(drain, 0.2)).decode("utf-8", "replace")
    except TimeoutError:
        await _kill(process)
        return -1, "timeout"
    except asyncio.CancelledError:
        await _kill(process)
        raise
    finally:
        drain.cancel()
        await asyncio.wait((drain,))


async def _kill(process: Exec) -> None:
    with contextlib.suppress(NotFound):
        await process.kill(SIGKILL)


async def _within(drain: asyncio.Future[bytes], timeout_s: float) -> bytes:
    """What was read; a grandchild that keeps the pipe open is not waited for."""
    done, _ = await asyncio.wait((drain,), timeout=timeout_s)
    return drain.result() if done else b""


async def _drain(reader: int) -> bytes:
    """The first bytes of the output; the rest is read and dropped, so that nothing blocks."""
    kept = bytearray()
    async for data in read_chunks(reader):
        kept += data[: max(0, OUTPUT_BYTES - len(kept))]
    return bytes(kept)
