"""Log lines on their way to whoever asks a manager: subscriptions, reading, bounded buffers.

One pump a task and subscription reads the task's file into a queue of fixed length; while the
session is slow, the pumps wait. All ends with the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT, LogContext, LogMessage
from swarmlite.proto.dispatcher_pb2 import LogChunk, LogSubscription
from swarmlite.proto.objects_pb2 import Task
from swarmlite.runtime import logs
from swarmlite.runtime.logs import LogLine

log = logging.getLogger(__name__)

QUEUE_LINES = 2000
CHUNK_LINES = 256
CHUNK_BYTES = 1 << 20
NANO = 1_000_000_000


@dataclass(frozen=True)
class Source:
    """The log of one task of this node; `ended` is set once nothing more will be written."""

    task: Task
    path: Path
    ended: asyncio.Event


@dataclass
class _Subscription:
    request: LogSubscription
    pumps: dict[str, asyncio.Future[None]] = field(default_factory=dict)


class LogShipper:
    """Answers the log subscriptions of one session after the other."""

    def __init__(self, sources: Callable[[], Iterable[Source]]) -> None:
        """`sources` are the logs of all tasks known to this node, ended ones included."""
        self._sources = sources
        self._subscriptions: dict[str, _Subscription] = {}
        self._queue: asyncio.Queue[tuple[str, LogMessage | None]] = asyncio.Queue(QUEUE_LINES)
        self._background: set[asyncio.Future[None]] = set()

    def subscribe(self, request: LogSubscription) -> None:
        """Begin to ship, or stop when `request.close`."""
        if request.close:
            self._close(request.id)
            return
        if request.id in self._subscriptions:
            return
        self._subscriptions[request.id] = _Subscription(request)
        for source in self._sources():
            self._pump(self._subscriptions[request.id], source)
        if not request.options.follow:
            self._spawn(self._close_after(self._subscriptions[request.id]))

    def added(self, source: Source) -> None:
        """A new task: subscriptions that follow its service take it in."""
        for subscription in self._subscriptions.values():
            if subscription.request.options.follow:
                self._pump(subscription, source)

    def reset(self) -> None:
        """The session is over: all subscriptions with it."""
        for subscription_id in list(self._subscriptions):
            self._close(subscription_id)
        while not self._queue.empty():
            self._queue.get_nowait()

    async def chunks(self) -> list[LogChunk]:
        """What there is to send, once there is something."""
        chunks: dict[str, LogChunk] = {}
        entry = await self._queue.get()
        size = lines = 0
        while True:
            subscription_id, message = entry
            chunk = chunks.setdefault(subscription_id, LogChunk(subscription_id=subscription_id))
            if message is None:
                chunk.close = True
            else:
                chunk.messages.append(message)
                size += len(message.data)
                lines += 1
            if self._queue.empty() or lines >= CHUNK_LINES or size >= CHUNK_BYTES:
                return list(chunks.values())
            entry = self._queue.get_nowait()

    def _pump(self, subscription: _Subscription, source: Source) -> None:
        if source.task.id in subscription.pumps or not _selects(subscription.request, source.task):
            return
        subscription.pumps[source.task.id] = self._spawn(_ship(subscription, source, self._queue))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.ensure_future(work)
        self._background.add(future)
        future.add_done_callback(self._background.discard)
        return future

    def _close(self, subscription_id: str) -> None:
        subscription = self._subscriptions.pop(subscription_id, None)
        if subscription is not None:
            for pump in subscription.pumps.values():
                pump.cancel()

    async def _close_after(self, subscription: _Subscription) -> None:
        if subscription.pumps:
            await asyncio.wait(subscription.pumps.values())
        if self._subscriptions.pop(subscription.request.id, None) is not None:
            await self._queue.put((subscription.request.id, None))


def _selects(request: LogSubscription, task: Task) -> bool:
    selector = request.selector
    return (
        task.id in selector.task_ids
        or task.service_id in selector.service_ids
        or task.node_id in selector.node_ids
    )


async def _ship(
    subscription: _Subscription,
    source: Source,
    queue: asyncio.Queue[tuple[str, LogMessage | None]],
) -> None:
    request = subscription.request
    options = request.options
    task = source.task
    context = LogContext(service_id=task.service_id, node_id=task.node_id, task_id=task.id)
    until_ns = _nanoseconds(options.until) if options.HasField("until") else None
    lines = logs.read(
        source.path,
        tail=options.tail,
        since=_nanoseconds(options.since) / NANO if options.HasField("since") else None,
        follow=options.follow,
        ended=source.ended,
    )
    try:
        async with contextlib.aclosing(lines):  # type: ignore[type-var]
            async for line in lines:
                if until_ns is not None and line.time_ns > until_ns:
                    return
                if _wanted(line, request):
                    await queue.put((request.id, _message(context, line)))
    except OSError as error:
        log.warning("log unreadable task=%s error=%s", task.id, error)


def _wanted(line: LogLine, request: LogSubscription) -> bool:
    """Neither stream named means both."""
    options = request.options
    if not (options.stdout or options.stderr):
        return True
    return options.stderr if line.stream == "stderr" else options.stdout


def _message(context: LogContext, line: LogLine) -> LogMessage:
    seconds, nanos = divmod(line.time_ns, NANO)
    return LogMessage(
        context=context,
        timestamp=Timestamp(seconds=seconds, nanos=nanos),
        stream=LOG_STDERR if line.stream == "stderr" else LOG_STDOUT,
        data=line.data,
    )


def _nanoseconds(moment: Timestamp) -> int:
    return moment.seconds * NANO + moment.nanos
