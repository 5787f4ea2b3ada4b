"""Fan-out of events to the subscribers within one manager, and the last of them remembered."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from swarmlite.proto.objects_pb2 import Config, Secret

from .api import MAX_BACKLOG, Event, Resync

REMEMBERED = 256
"""Events of each kind, as Docker has it of all."""

_WITH_DATA = ("secret", "config")
REMEMBERED_KINDS = ("node", "service", "task", "network", *_WITH_DATA)


class FeedSubscription:
    """One subscriber's queue; implements api.Subscription."""

    def __init__(self, kinds: frozenset[str], backlog: int = MAX_BACKLOG) -> None:
        self._kinds, self._backlog = kinds, backlog
        self._events: list[Event] = []
        self._ready = asyncio.Event()
        self._lost = False

    def push(self, events: Sequence[Event]) -> None:
        """Take what concerns this subscriber."""
        mine = [e for e in events if e.kind in self._kinds] if self._kinds else events
        if not mine:
            return
        if len(self._events) + len(mine) > self._backlog:
            self.lose()
        else:
            self._events.extend(mine)
            self._ready.set()

    def lose(self) -> None:
        """Drop what is queued: the subscriber starts over."""
        self._events.clear()
        self._lost = True
        self._ready.set()

    def drain(self) -> list[Event]:
        """As api.Subscription.drain."""
        self._ready.clear()
        if self._lost:
            self._lost = False
            raise Resync
        events, self._events = self._events, []
        return events

    async def __aiter__(self) -> AsyncIterator[Sequence[Event]]:
        while True:
            await self._ready.wait()
            events = self.drain()
            if events:
                yield events


class Feed:
    """Every subscriber of one store."""

    def __init__(self) -> None:
        self._subscriptions: set[FeedSubscription] = set()
        self._past = {kind: deque[Event](maxlen=REMEMBERED) for kind in REMEMBERED_KINDS}
        self._last_ns = 0

    @asynccontextmanager
    async def subscribe(
        self, *kinds: str, backlog: int = MAX_BACKLOG
    ) -> AsyncIterator[FeedSubscription]:
        """As api.Store.subscribe."""
        subscription = FeedSubscription(frozenset(kinds), backlog)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def publish(self, events: Sequence[Event]) -> None:
        """Hand `events` to whoever wants their kinds."""
        now = time.time_ns()
        for event in events:
            # No two at one time, nor back with the clock: `past` puts them in order by it.
            event.time_ns = self._last_ns = max(now, self._last_ns + 1)
            if (past := self._past.get(event.kind)) is not None:
                past.append(event if event.kind not in _WITH_DATA else _without_data(event))
        for subscription in self._subscriptions:
            subscription.push(events)

    def resync(self) -> None:
        """Tell every subscriber to start over."""
        for subscription in self._subscriptions:
            subscription.lose()

    def past(self, *kinds: str) -> list[Event]:
        """As api.Store.past."""
        found = [event for kind in kinds for event in self._past.get(kind, ())]
        return sorted(found, key=lambda event: event.time_ns)


def _without_data(event: Event) -> Event:
    """What is remembered is not to keep megabytes, nor a secret that is gone."""
    assert isinstance(event.obj, Secret | Config)
    obj = type(event.obj)(id=event.obj.id, meta=event.obj.meta)
    obj.spec.annotations.CopyFrom(event.obj.spec.annotations)
    return replace(event, obj=obj, old=None)
