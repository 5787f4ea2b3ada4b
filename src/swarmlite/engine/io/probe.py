"""One health test: a command in the container, its output kept to a limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

from swarmlite.engine.io.descriptors import Owned, read_chunks
from swarmlite.errors import NotFound, ResourceExhausted, Unavailable
from swarmlite.runtime.client import Exec, Supervisor

OUTPUT_BYTES = 4096
NET_S = 1.0  # later than we would, the supervisor kills it
SIGKILL = 9


async def run_probe(
    client: Supervisor, container_id: str, process: dict[str, Any], timeout_s: float
) -> tuple[int, str]:
    """Exit code and output of `process`; -1 and "timeout" when all of it took too long.

    It is killed then, whatever the container did to it meanwhile, and by the supervisor where this
    process is gone. Raises Unavailable when the host could not run it, which says nothing of the
    container; another SwarmliteError when it could not be run there. Cancelled: it is killed.
    """
    try:
        with Owned() as owned:
            reader, writer = owned.pipe()
            os.set_blocking(reader, False)
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            owned.add(null)
            return await _run(
                client, container_id, process, timeout_s, owned, (null, writer, reader)
            )
    except (OSError, ResourceExhausted) as error:
        raise Unavailable(f"the host could not run a health test: {error}") from error


async def _run(
    client: Supervisor,
    container_id: str,
    process: dict[str, Any],
    timeout_s: float,
    owned: Owned,
    streams: tuple[int, int, int],
) -> tuple[int, str]:
    null, writer, reader = streams
    running: Exec | None = None
    drain = asyncio.ensure_future(_drain(reader))
    net_s = timeout_s + NET_S
    try:
        async with asyncio.timeout(timeout_s):
            running = await client.exec(
                container_id, process, stdin=null, stdout=writer, stderr=writer,
                start_timeout_s=net_s, timeout_s=net_s,
            )  # fmt: skip
            owned.close(writer)
            code = await running.wait()
        running = None
        return code, (await _within(drain, 0.2)).decode("utf-8", "replace")
    except TimeoutError:
        return -1, "timeout"
    finally:
        if running is not None:
            await _kill(running)
        drain.cancel()
        await asyncio.wait((drain,))


async def _kill(process: Exec) -> None:
    with contextlib.suppress(NotFound, Unavailable):
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
