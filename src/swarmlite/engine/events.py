"""What happens on this host, as Docker tells it: heard live, and the last of it remembered.

Memory only: events are for watching, the records are the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.proto.control_pb2 import Filter
from swarmlite.proto.host_pb2 import HostEvent

REMEMBERED = 1000
BEHIND = 10_000
"""Events that a listener may not have taken yet; one that is further behind is ended."""
KEYS = (
    "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin",
    "scope", "secret", "service", "type", "volume",
)  # fmt: skip


Attributes = Mapping[str, str]
_NONE: Attributes = {}


class _Told:
    """An event that happened; its message is made when somebody wants it."""

    def __init__(
        self,
        kind: str,
        action: str,
        actor_id: str,
        attributes: Attributes | Callable[[], Attributes],
        scope: str,
    ) -> None:
        self._kind, self._action, self._actor_id, self._scope = kind, action, actor_id, scope
        self._attributes = attributes
        self._time_ns = time.time_ns()
        self._event: HostEvent | None = None

    def event(self) -> HostEvent:
        """The same one each time."""
        if self._event is None:
            found = self._attributes
            self._event = HostEvent(
                type=self._kind,
                action=self._action,
                actor_id=self._actor_id,
                attributes=found() if callable(found) else found,
                time=moment(self._time_ns),
                scope=self._scope,
            )
        return self._event


class Events:
    """Tells each event to who listens; one event loop's."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self._past: deque[_Told] = deque(maxlen=REMEMBERED)
        self._listeners: set[asyncio.Queue[HostEvent]] = set()

    def tell(
        self,
        kind: str,
        action: str,
        actor_id: str,
        attributes: Attributes | Callable[[], Attributes] = _NONE,
        scope: str = "local",
    ) -> None:
        """It happened now. Attributes that are a function are asked for when somebody listens."""
        told = _Told(kind, action, actor_id, attributes, scope)
        self._past.append(told)
        for queue in self._listeners:
            queue.put_nowait(told.event())

    @contextlib.contextmanager
    def listen(
        self,
        *,
        since: Timestamp | None = None,
        until: Timestamp | None = None,
        filters: Iterable[Filter] = (),
    ) -> Iterator[AsyncIterator[HostEvent]]:
        """Events since `since` that are remembered, then those to come, until `until`.

        Nothing is missed from the moment that the block is entered. Raises InvalidSpec for an
        unknown filter; the iterator raises ResourceExhausted when it is too far behind.
        """
        wanted = matcher(filters)
        queue: asyncio.Queue[HostEvent] = asyncio.Queue()
        past = [told.event() for told in self._past] if since is not None else []
        self._listeners.add(queue)
        try:
            yield _chosen(past, queue, since, until, wanted)
        finally:
            self._listeners.discard(queue)


async def _chosen(
    past: Iterable[HostEvent],
    queue: asyncio.Queue[HostEvent],
    since: Timestamp | None,
    until: Timestamp | None,
    wanted: Callable[[HostEvent], bool],
) -> AsyncIterator[HostEvent]:
    for event in past:
        if _within(event, since, until) and wanted(event):
            yield event
    while (next_one := await _next(queue, until)) is not None:
        if queue.qsize() > BEHIND:
            raise ResourceExhausted("events were read too slowly: some were lost")
        if _within(next_one, None, until) and wanted(next_one):
            yield next_one


async def _next(queue: asyncio.Queue[HostEvent], until: Timestamp | None) -> HostEvent | None:
    if until is None:
        return await queue.get()
    left_s = (nanoseconds(until) - time.time_ns()) / 1e9
    try:
        async with asyncio.timeout(max(left_s, 0)):
            return await queue.get()
    except TimeoutError:
        return None


def moment(nanos: int) -> Timestamp:
    """A time since the epoch, as a message."""
    seconds, rest = divmod(nanos, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=rest)


def nanoseconds(timestamp: Timestamp) -> int:
    """A message's time since the epoch."""
    return timestamp.seconds * 1_000_000_000 + timestamp.nanos


def _within(event: HostEvent, since: Timestamp | None, until: Timestamp | None) -> bool:
    at = nanoseconds(event.time)
    return (since is None or at >= nanoseconds(since)) and (
        until is None or at <= nanoseconds(until)
    )


def matcher(filters: Iterable[Filter]) -> Callable[[HostEvent], bool]:
    """Whether an event passes every filter. Raises InvalidSpec for an unknown one."""
    wanted: dict[str, list[str]] = {}
    for entry in filters:
        if entry.key not in KEYS:
            raise InvalidSpec(f"invalid filter {entry.key!r}: expected one of {', '.join(KEYS)}")
        wanted.setdefault(entry.key, []).extend(entry.values)

    def passes(event: HostEvent) -> bool:
        return all(
            (all if key == "label" else any)(_holds(event, key, value) for value in values)
            for key, values in wanted.items()
        )

    return passes


def _holds(event: HostEvent, key: str, value: str) -> bool:
    if key == "type":
        return event.type == value
    if key == "scope":
        return event.scope == value
    if key == "event":  # "exec_create" is any "exec_create: sh"
        return event.action == value or event.action.partition(":")[0] == value
    if key == "label":
        name, separator, wanted = value.partition("=")
        held = event.attributes.get(name) if name in event.attributes else None
        return held is not None and (not separator or held == wanted)
    if key == "image" and event.type == "container":
        image = event.attributes.get("image", "")
        return value in (image, image.rpartition(":")[0])
    names = {event.attributes.get("name", ""), event.attributes.get(key, "")}
    if event.type == key:
        return value in names or (bool(value) and event.actor_id.startswith(value))
    return bool(value) and event.attributes.get(key, "").startswith(value)
