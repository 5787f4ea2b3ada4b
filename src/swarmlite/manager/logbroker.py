"""The log broker: a request for logs goes to the nodes that have the tasks, their lines come back.

It keeps nothing: a subscription lives as long as the call that it was made for. A node is believed
only about the tasks that are its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

from swarmlite.errors import (
    InvalidSpec,
    ResourceExhausted,
    SwarmliteError,
    Unavailable,
)
from swarmlite.ids import new_id
from swarmlite.manager.dispatcher.sessions import Sessions
from swarmlite.manager.store.api import Event, Missing, Resync, Store, Subscription
from swarmlite.manager.store.tables import Tables
from swarmlite.model.validate.reports import bound_line
from swarmlite.proto.control_pb2 import (
    LOG_UNKNOWN,
    LogMessage,
    LogSelector,
    LogsRequest,
    LogsResponse,
)
from swarmlite.proto.dispatcher_pb2 import LogChunk, LogSubscription, ManagerMessage
from swarmlite.proto.objects_pb2 import Node, Task

from .logforward import Forward, holders
from .logorder import LINE_BYTES, Window

log = logging.getLogger(__name__)

MAX_SELECTED = 10_000
"""Services, tasks and nodes that one call may name."""

OWN = ""
"""Of a node whose session is with this manager."""

MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""Of lines that a slow client has not taken yet; beyond it its call ends."""

PAUSE_BYTES = 8 * 1024 * 1024
"""From here on nodes are told to wait until the client has taken what there is."""

RESPONSE_LINES, RESPONSE_BYTES = 1000, 1024 * 1024
"""Of one message to the client, which is above it by one line at most."""


class _Subscription:
    """One call for logs."""

    def __init__(self, request: LogsRequest) -> None:
        self.id = new_id()
        self.request = request
        self.selector = request.selector
        self.open: dict[str, str] = {}
        """Nodes that may still send, and through which manager: its address, or OWN."""
        self.forwarded: set[asyncio.Task[None]] = set()
        self.asked: set[str] = set()
        self.missing: dict[str, str] = {}
        """Why nodes' lines are not there."""
        self.lines: list[LogMessage] = []
        self.news = asyncio.Event()
        self.queued_bytes = 0
        self.paused = False
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.overflown = False

    def lose(self, node_id: str, reason: str) -> None:
        """The node sends no more."""
        self.open.pop(node_id, None)
        self.missing[node_id] = reason
        self.news.set()

    def add(self, message: LogMessage) -> None:
        """A line, for the client to take."""
        self.lines.append(message)
        self.queued_bytes += len(message.data) + LINE_BYTES
        self.overflown = self.queued_bytes > MAX_QUEUED_BYTES

    def message(self) -> ManagerMessage:
        """What asks a node."""
        asked = LogSubscription(
            id=self.id,
            selector=self.request.selector,
            options=self.request.options,
            pause=self.paused,
        )
        return ManagerMessage(log_subscription=asked)

    def of_several(self) -> bool:
        """Whether it is for tasks whose lines are to be merged: they have times."""
        selector = self.selector
        one = len(selector.task_ids) == 1 and not (selector.service_ids or selector.node_ids)
        return not one and not self.request.options.plain

    def take(self) -> list[LogMessage]:
        """What has come."""
        self.news.clear()
        lines, self.lines, self.queued_bytes = self.lines, [], 0
        return lines


class LogBroker:
    """Answers ServiceLogs: nodes that have a session here are asked, and for the others the
    managers that hold theirs.
    """

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        node_id: str = "",
        forward: Forward | None = None,
    ) -> None:
        """`node_id` is this manager's; without `forward` other managers' nodes are missing."""
        self._store = store
        self._sessions = sessions
        self._node_id = node_id
        self._forward = forward
        self._subscriptions: dict[str, _Subscription] = {}
        sessions.listen(self._session_changed)

    async def logs(self, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        """Lines of the selected tasks as they come; with `follow` also of tasks made later.

        Followed ones of several tasks are in the order of their times where they have these (not
        `plain`), as far as they come within a moment of each other.

        Ends when every node has sent what it has. Raises Unavailable after the last line when some
        nodes' lines are missing, which it names; a following call hears of it by a line of stream
        LOG_UNKNOWN instead. Raises InvalidSpec, Missing, and ResourceExhausted for a client that
        reads too slowly.
        """
        _check(self._store.view, request.selector)
        subscription = _Subscription(request)
        self._subscriptions[subscription.id] = subscription
        try:
            async with self._store.subscribe("task", "node") as events:
                self._ask(subscription, _nodes(self._store.view, request.selector))
                follower = asyncio.ensure_future(self._follow(subscription, events))
                try:
                    async for response in _answers(subscription, self._taken):
                        yield response
                finally:
                    running = [follower, *subscription.forwarded]
                    for each in running:
                        each.cancel()
                    await asyncio.gather(*running, return_exceptions=True)
        finally:
            del self._subscriptions[subscription.id]
            self._tell(subscription, [n for n, via in subscription.open.items() if via == OWN])

    def received(self, node_id: str, chunk: LogChunk) -> None:
        """As loop.LogSink."""
        subscription = self._subscriptions.get(chunk.subscription_id)
        if subscription is None or subscription.open.get(node_id) != OWN:
            return
        own = self._store.view.tasks.of_node(node_id)
        for message in chunk.messages:
            task = own.get(message.context.task_id)
            if task is None or not _selects(subscription.selector, task):
                log.warning("log line of a task not asked for node=%s", node_id)
                continue
            bound_line(message)
            message.context.node_id = node_id
            message.context.service_id = task.service_id
            subscription.add(message)
        if chunk.close:
            del subscription.open[node_id]
        if subscription.queued_bytes > PAUSE_BYTES and not subscription.paused:
            self._pause(subscription, True)
        subscription.news.set()

    def _taken(self, subscription: _Subscription) -> None:
        """Its client has what there was."""
        if subscription.paused and subscription.queued_bytes <= PAUSE_BYTES:
            self._pause(subscription, False)

    def _pause(self, subscription: _Subscription, paused: bool) -> None:
        subscription.paused = paused
        subscription.flowing.clear() if paused else subscription.flowing.set()
        word = LogSubscription(id=subscription.id, pause=paused)
        for node_id, via in subscription.open.items():
            if via == OWN:
                self._sessions.send(node_id, ManagerMessage(log_subscription=word))

    def _ask(self, on: _Subscription, node_ids: Iterable[str]) -> None:
        message = on.message()
        elsewhere = []
        for node_id in sorted(set(node_ids) - on.asked):
            if on.request.only_nodes and node_id not in on.request.only_nodes:
                continue
            on.asked.add(node_id)
            if self._sessions.send(node_id, message):
                on.open[node_id] = OWN
            else:
                elsewhere.append(node_id)
        self._ask_others(on, elsewhere, on.request)
        on.news.set()

    # nodes of other managers
    def _ask_others(self, on: _Subscription, node_ids: list[str], request: LogsRequest) -> None:
        """Through the managers that hold their sessions; a manager that asks us asks no further."""
        found: dict[str, list[str]] = {}
        if self._forward is not None and not request.only_nodes:
            found = holders(self._store.view, node_ids, self._node_id)
        for node_id in set(node_ids).difference(*found.values()):
            on.lose(node_id, "is not available")
        for address, its_nodes in found.items():
            for node_id in its_nodes:
                on.open[node_id] = address
            asked = LogsRequest(only_nodes=its_nodes)
            asked.selector.CopyFrom(request.selector)
            asked.options.CopyFrom(request.options)
            task = asyncio.ensure_future(self._forwarded(on, address, asked))
            on.forwarded.add(task)
            task.add_done_callback(on.forwarded.discard)

    async def _forwarded(self, on: _Subscription, address: str, request: LogsRequest) -> None:
        assert self._forward is not None
        reason = "is not available"
        try:
            async for response in self._forward(address, request):
                for message in response.messages:
                    self._take_forwarded(on, address, message)
                if on.queued_bytes > PAUSE_BYTES and not on.paused:
                    self._pause(on, True)
                on.news.set()
                await on.flowing.wait()  # what is not read here holds the other manager's nodes
            reason = ""
        except SwarmliteError as error:
            log.info("logs through manager %s ended: %s", address, error)
            reason = f"is not available: {error}"
        finally:
            for node_id in [n for n in request.only_nodes if on.open.get(n) == address]:
                if reason:
                    on.lose(node_id, reason)
                else:
                    del on.open[node_id]
            on.news.set()

    def _take_forwarded(self, on: _Subscription, address: str, message: LogMessage) -> None:
        node_id = message.context.node_id
        if message.stream != LOG_UNKNOWN:
            on.add(message)
        elif on.open.get(node_id) == address:
            on.lose(node_id, message.data.decode(errors="replace"))

    def _moved(self, on: _Subscription, events: Iterable[Event]) -> None:
        """Follow nodes whose sessions are with another manager now; lines are not sent twice."""
        if on.request.only_nodes:
            return
        nodes = [event.obj for event in events if isinstance(event.obj, Node)]
        moved = [
            node_id
            for address, node_ids in holders(
                self._store.view, {node.id for node in nodes} & on.asked, self._node_id
            ).items()
            for node_id in node_ids
            if on.open.get(node_id) not in (OWN, address)
        ]
        if moved:
            again = LogsRequest()
            again.CopyFrom(on.request)
            again.options.tail = 0
            self._ask_others(on, moved, again)

    async def _follow(self, on: _Subscription, events: Subscription) -> None:
        """Ask the nodes of tasks that are assigned later, and those that move."""
        while on.request.options.follow:
            try:
                async for batch in events:
                    self._ask(on, _nodes_of(batch, on.selector))
                    self._moved(on, batch)
            except Resync:
                self._ask(on, _nodes(self._store.view, on.selector))

    def _session_changed(self, node_id: str, here: bool) -> None:
        for subscription in self._subscriptions.values():
            if subscription.open.get(node_id) == OWN:
                subscription.lose(node_id, "went away in the middle")
            if here and node_id in subscription.asked and subscription.request.options.follow:
                # An agent forgets its subscriptions with its session. What it logged meanwhile is
                # missing, and said to be; lines that were sent are not sent twice.
                again = subscription.message()
                again.log_subscription.options.tail = 0
                self._sessions.send(node_id, again)
                subscription.open[node_id] = OWN

    def _tell(self, subscription: _Subscription, node_ids: Iterable[str]) -> None:
        closing = ManagerMessage(log_subscription=LogSubscription(id=subscription.id, close=True))
        for node_id in list(node_ids):
            self._sessions.send(node_id, closing)


async def _answers(
    subscription: _Subscription, taken: Callable[[_Subscription], None]
) -> AsyncIterator[LogsResponse]:
    told: set[str] = set()
    follow = subscription.request.options.follow
    forwarded = bool(subscription.request.only_nodes)
    clock = asyncio.get_running_loop().time
    window = Window(clock()) if follow and not forwarded and subscription.of_several() else None
    while True:
        await _news(subscription, window.wait_s(clock()) if window else None)
        if subscription.overflown:
            raise ResourceExhausted("the logs come faster than they are read")
        lines = subscription.take()
        if window is not None:
            window.add(lines, clock())
            lines = window.due(clock())
        for portion in _portions(lines):
            yield LogsResponse(messages=portion)
        taken(subscription)
        if follow or forwarded:
            note = _reason if forwarded else _note
            notes = [
                note(n, subscription.missing[n]) for n in subscription.missing if n not in told
            ]
            told.update(subscription.missing)
            if notes:
                yield LogsResponse(messages=notes)
        if not follow and not subscription.open and not subscription.lines:
            break
    if subscription.missing and not forwarded:
        reasons = ", ".join(f"node {n} {why}" for n, why in subscription.missing.items())
        raise Unavailable(f"incomplete log stream: some logs could not be retrieved: {reasons}")


async def _news(subscription: _Subscription, timeout_s: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await subscription.news.wait()


def _portions(lines: Iterable[LogMessage]) -> Iterator[list[LogMessage]]:
    portion: list[LogMessage] = []
    size = 0
    for line in lines:
        portion.append(line)
        size += len(line.data)
        if len(portion) >= RESPONSE_LINES or size >= RESPONSE_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _reason(node_id: str, reason: str) -> LogMessage:
    """For a manager that asked: it tells its client."""
    message = LogMessage(stream=LOG_UNKNOWN, data=reason.encode())
    message.context.node_id = node_id
    return message


def _note(node_id: str, reason: str) -> LogMessage:
    note = LogMessage(stream=LOG_UNKNOWN)
    note.context.node_id = node_id
    note.data = f"warning: node {node_id} {reason}: its logs are missing\n".encode()
    return note


def _check(view: Tables, selector: LogSelector) -> None:
    if not (selector.service_ids or selector.task_ids or selector.node_ids):
        raise InvalidSpec("logs: a service or a task must be named")
    count = len(selector.service_ids) + len(selector.task_ids) + len(selector.node_ids)
    if count > MAX_SELECTED:
        raise InvalidSpec(f"logs: {count} services, tasks and nodes, {MAX_SELECTED} at most")
    for kind, table, wanted in (
        ("service", view.services, selector.service_ids),
        ("task", view.tasks, selector.task_ids),
        ("node", view.nodes, selector.node_ids),
    ):
        for object_id in wanted:
            if object_id not in table:
                raise Missing(kind, object_id)


def _selects(selector: LogSelector, task: Task) -> bool:
    return (
        task.id in selector.task_ids
        or task.service_id in selector.service_ids
        or task.node_id in selector.node_ids
    )


def _candidates(view: Tables, selector: LogSelector) -> Iterator[Task]:
    for service_id in selector.service_ids:
        yield from view.tasks.of_service(service_id).values()
    for node_id in selector.node_ids:
        yield from view.tasks.of_node(node_id).values()
    for task_id in selector.task_ids:
        task = view.tasks.get(task_id)
        if task is not None:
            yield task


def _nodes(view: Tables, selector: LogSelector) -> set[str]:
    return {task.node_id for task in _candidates(view, selector) if task.node_id}


def _nodes_of(events: Iterable[Event], selector: LogSelector) -> set[str]:
    found = [event.obj for event in events if isinstance(event.obj, Task)]
    return {task.node_id for task in found if task.node_id and _selects(selector, task)}
