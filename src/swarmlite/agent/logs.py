"""Log lines on their way to whoever asks a manager: subscriptions, reading, bounded buffers.

One pump a task and subscription reads the task's file into a short queue of bounded portions; while
the session is slow, or the manager says that a subscription's client is, its pumps wait. All ends
with the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarmlite.engine.io.logs import messages_of, selection_of, wanted
from swarmlite.errors import InvalidSpec
from swarmlite.proto.control_pb2 import LogContext, LogMessage
from swarmlite.proto.dispatcher_pb2 import LogChunk, LogSubscription
from swarmlite.proto.objects_pb2 import Task
from swarmlite.runtime import logs
from swarmlite.runtime.logs import LogLine
from swarmlite.runtime.logs.text import Form

log = logging.getLogger(__name__)

QUEUE_PORTIONS = 8
PORTION_LINES = 256
PORTION_BYTES = 1 << 19  # and a line above it


@dataclass(frozen=True)
class Source:
    """The log of one task of this node; `ended` is set once nothing more will be written."""

    task: Task
    path: Path
    ended: asyncio.Event


_Portion = tuple[str, "list[LogMessage] | None"]
"""A subscription, and lines for it; None when it is over."""


@dataclass
class _Subscription:
    request: LogSubscription
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    pumps: dict[str, asyncio.Future[None]] = field(default_factory=dict)


class LogShipper:
    """Answers the log subscriptions of one session after the other."""

    def __init__(self, sources: Callable[[], Iterable[Source]]) -> None:
        """`sources` are the logs of all tasks known to this node, ended ones included."""
        self._sources = sources
        self._subscriptions: dict[str, _Subscription] = {}
        self._queue: asyncio.Queue[_Portion] = asyncio.Queue(QUEUE_PORTIONS)
        self._background: set[asyncio.Future[None]] = set()

    def subscribe(self, request: LogSubscription) -> None:
        """Begin to ship, stop when `request.close`, wait while `request.pause`."""
        if request.close:
            self._close(request.id)
            return
        subscription = self._subscriptions.get(request.id)
        if subscription is None:
            subscription = self._subscriptions[request.id] = _Subscription(request)
            self._begin(subscription)
        if request.pause:
            subscription.flowing.clear()
        else:
            subscription.flowing.set()

    def _begin(self, subscription: _Subscription) -> None:
        for source in self._sources():
            self._pump(subscription, source)
        if not subscription.request.options.follow:
            self._spawn(self._close_after(subscription))

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
        lines = size = 0
        while True:
            subscription_id, messages = entry
            chunk = chunks.setdefault(subscription_id, LogChunk(subscription_id=subscription_id))
            if messages is None:
                chunk.close = True
            else:
                chunk.messages.extend(messages)
                lines += len(messages)
                size += sum(len(message.data) for message in messages)
            if self._queue.empty() or lines >= PORTION_LINES or size >= PORTION_BYTES:
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
    subscription: _Subscription, source: Source, queue: asyncio.Queue[_Portion]
) -> None:
    request, task = subscription.request, source.task
    options = request.options
    context = LogContext(service_id=task.service_id, node_id=task.node_id, task_id=task.id)
    try:
        selection = selection_of(options, Form(whole=True) if options.plain else None)
        found = logs.batches(source.path, selection, follow=options.follow, ended=source.ended)
        async with contextlib.aclosing(found):
            async for batch in found:
                lines = [line for line in batch if wanted(line, options)]
                for portion in _portions(lines):
                    messages = messages_of(portion, context=context, details=True)
                    await subscription.flowing.wait()
                    await queue.put((request.id, messages))
    except (OSError, InvalidSpec) as error:
        log.warning("log unreadable task=%s error=%s", task.id, error)


def _portions(lines: list[LogLine]) -> Iterator[list[LogLine]]:
    """A few at a time, so that neither the queue nor one turn of the loop grows."""
    portion: list[LogLine] = []
    size = 0
    for line in lines:
        portion.append(line)
        size += len(line.data)
        if len(portion) >= PORTION_LINES or size >= PORTION_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
