"""One command in a running container, its input and output as messages of `Containers.Exec`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from swarmlite.engine.containers import read_spec
from swarmlite.engine.io.descriptors import Owned, read_chunks, write_all
from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound
from swarmlite.proto.containers_pb2 import ExecConfig, ExecInput, StreamOutput
from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT, LogStream
from swarmlite.runtime.client import Exec, State, Supervisor

SIGKILL = 9
QUEUE_CHUNKS = 16


def process_of(state: State, start: ExecConfig) -> dict[str, Any]:
    """The OCI process: as the container's own, but for what `start` says. Raises InvalidSpec."""
    if state.status != "running":
        raise FailedPrecondition(f"container {state.id[:12]} is not running")
    if not start.command:
        raise InvalidSpec("no command to run")
    process: dict[str, Any] = read_spec(state.bundle).get("process", {})
    process.update(args=list(start.command), terminal=start.tty)
    process["env"] = [*process.get("env", []), *start.env]
    if start.dir:
        process["cwd"] = start.dir
    if start.user:
        process["user"] = {"uid": 0, "gid": 0, "username": start.user}
    return process


async def execute(
    client: Supervisor,
    container_id: str,
    process: dict[str, Any],
    inputs: AsyncIterator[ExecInput],
) -> AsyncGenerator[StreamOutput, None]:
    """Output as it comes; the last message carries the exit code.

    Raises SwarmliteError when it cannot be run. Cancelled or closed: the process is killed.
    """
    with Owned() as owned:
        their_in, stdin = owned.pipe()
        stdout, their_out = owned.pipe()
        stderr, their_err = owned.pipe()
        running = await client.exec(
            container_id, process, stdin=their_in, stdout=their_out, stderr=their_err
        )
        owned.close(their_in, their_out, their_err)
        streams = {stdout: LOG_STDOUT, stderr: LOG_STDERR}
        if running.console is not None:
            owned.add(running.console)
            owned.close(stdin, stdout, stderr)
            stdin, streams = os.dup(running.console), {running.console: LOG_STDOUT}
            owned.add(stdin)
        for descriptor in (stdin, *streams):
            os.set_blocking(descriptor, False)
        async with contextlib.aclosing(
            _converse(running, owned, stdin, streams, inputs)
        ) as outputs:
            async for output in outputs:
                yield output


async def _converse(
    running: Exec,
    owned: Owned,
    stdin: int,
    streams: dict[int, LogStream.ValueType],
    inputs: AsyncIterator[ExecInput],
) -> AsyncGenerator[StreamOutput, None]:
    queue: asyncio.Queue[StreamOutput | None] = asyncio.Queue(QUEUE_CHUNKS)
    feeding = asyncio.ensure_future(_feed(owned, stdin, inputs))
    reading = [asyncio.ensure_future(_read(fd, kind, queue)) for fd, kind in streams.items()]
    ended = False
    try:
        for _ in reading:
            while (output := await queue.get()) is not None:
                yield output
        code = await running.wait()
        ended = True
        yield StreamOutput(exit_code=code)
    finally:
        for future in (feeding, *reading):
            future.cancel()
        await asyncio.wait((feeding, *reading))
        if not ended:
            with contextlib.suppress(NotFound):
                await running.kill(SIGKILL)


async def _read(
    descriptor: int, kind: LogStream.ValueType, queue: asyncio.Queue[StreamOutput | None]
) -> None:
    async for data in read_chunks(descriptor):
        await queue.put(StreamOutput(stream=kind, data=data))
    await queue.put(None)


async def _feed(owned: Owned, stdin: int, inputs: AsyncIterator[ExecInput]) -> None:
    """Hand input on; a process that reads no more is no error."""
    with contextlib.suppress(BrokenPipeError):
        async for message in inputs:
            if message.stdin:
                await write_all(stdin, message.stdin)
            if message.stdin_close:
                break
    owned.close(stdin)
