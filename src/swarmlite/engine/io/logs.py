"""A container's log as messages, from the file that its driver keeps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.engine.io.log_drivers import log_path
from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError
from swarmlite.model import log_drivers
from swarmlite.proto.containers_pb2 import (
    Container,
    ContainerLogsRequest,
    ContainerState,
    StreamOutput,
)
from swarmlite.proto.control_pb2 import (
    LOG_STDERR,
    LOG_STDOUT,
    LogContext,
    LogMessage,
    LogOptions,
    LogsResponse,
)
from swarmlite.runtime import logs
from swarmlite.runtime.client import Supervisor
from swarmlite.runtime.logs import LogLine
from swarmlite.runtime.logs.reader import Selection
from swarmlite.runtime.logs.text import Form

NANO = 1_000_000_000
MAX_TAIL = 2**31
ACTIVE = (ContainerState.RUNNING, ContainerState.PAUSED)


async def read(
    client: Callable[[], Supervisor],
    container: Container,
    folder: Path,
    request: ContainerLogsRequest,
    begun: Callable[[], Awaitable[None]] | None = None,
) -> AsyncGenerator[LogsResponse, None]:
    """The lines that are asked for, many in one message; followed until the container stops.

    `begun` is awaited once what is written from then on is sure to be among them.
    Raises InvalidSpec, FailedPrecondition where the driver keeps nothing to be read.
    """
    _check(container)
    options = request.options
    follow = options.follow and container.state.status in ACTIVE
    ended = asyncio.Event()
    watching = asyncio.ensure_future(_watch(client, container.id, ended)) if follow else None
    selection = selection_of(options, form_of(request))
    found = logs.batches(log_path(folder), selection, follow=follow, ended=ended, begun=begun)
    try:
        async with contextlib.aclosing(found):
            async for batch in found:
                lines = [line for line in batch if wanted(line, options)]
                if lines:
                    yield LogsResponse(messages=messages_of(lines, details=request.details))
    except OSError as error:
        raise FailedPrecondition(
            f"container {container.id[:12]}: its log cannot be read: {error.strerror}"
        ) from error
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.wait((watching,))


def _check(container: Container) -> None:
    driver = container.config.log_driver
    if log_drivers.parse(driver.name, driver.options).file is None:
        raise FailedPrecondition(
            f"container {container.id[:12]}: the log driver {driver.name} keeps nothing to be read"
        )


async def _watch(client: Callable[[], Supervisor], container_id: str, ended: asyncio.Event) -> None:
    """Set `ended` once nothing more will be written."""
    with contextlib.suppress(SwarmliteError):
        await client().wait(container_id)
    ended.set()


def form_of(request: ContainerLogsRequest) -> Form | None:
    """How lines are put into text; None where they are wanted one by one."""
    return Form(request.timestamps, request.details) if request.plain else None


def selection_of(options: LogOptions, text: Form | None = None) -> Selection:
    """What the options ask for. Raises InvalidSpec."""
    if not -1 <= options.tail <= MAX_TAIL:
        raise InvalidSpec(f"tail: {options.tail} is not a number of lines")
    since = _nanoseconds(options.since) if options.HasField("since") else None
    until = _nanoseconds(options.until) if options.HasField("until") else None
    return Selection(options.tail, since, until, text)


def wanted(line: LogLine, options: LogOptions) -> bool:
    """Whether the stream is asked for; neither named means both."""
    if options.stdout == options.stderr:
        return True
    return options.stderr if line.stream == "stderr" else options.stdout


def messages_of(
    lines: Iterable[LogLine], *, context: LogContext | None = None, details: bool = False
) -> list[LogMessage]:
    """Lines as messages; text of many has no time."""
    return [
        LogMessage(
            context=context,
            timestamp=_moment(line.time_ns) if line.time_ns else None,
            stream=LOG_STDERR if line.stream == "stderr" else LOG_STDOUT,
            data=line.data,
            attributes=line.attrs if details else None,
        )
        for line in lines
    ]


async def before(
    folder: Path, time_ns: int, *, stdout: bool, stderr: bool
) -> AsyncIterator[StreamOutput]:
    """What a container wrote before a time (0 is now), as one who attaches gets it."""
    selection = Selection(until_ns=time_ns - 1 if time_ns else None, text=Form())
    found = logs.batches(log_path(folder), selection)
    async with contextlib.aclosing(found):
        async for batch in found:
            for line in batch:
                if line.stream == "stdout" and stdout:
                    yield StreamOutput(stream=LOG_STDOUT, data=line.data)
                elif line.stream == "stderr" and stderr:
                    yield StreamOutput(stream=LOG_STDERR, data=line.data)


def _moment(time_ns: int) -> Timestamp:
    seconds, nanos = divmod(time_ns, NANO)
    return Timestamp(seconds=seconds, nanos=nanos)


def _nanoseconds(moment: Timestamp) -> int:
    return moment.seconds * NANO + moment.nanos
