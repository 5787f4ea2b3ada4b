"""A store in memory: the real one's behaviour, without etcd, for tests and the simulation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

from swarmlite.errors import AlreadyExists, Conflict, InvalidSpec

from .api import (
    MAX_BACKLOG,
    MAX_OPERATIONS,
    Action,
    Change,
    Delete,
    Event,
    Fence,
    Fenced,
    Guard,
    GuardMoved,
    Put,
    Subscription,
    check_size,
    claimed_name,
    kind_of,
)
from .feed import Feed
from .slices import Slices
from .tables import Tables, name_of

log = logging.getLogger(__name__)


class MemoryStore:
    """Implements api.Store. `epoch` stands for the election key's create revision."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._view = Tables()
        self._feed = Feed()
        self._now = now
        self.epoch = 0
        self.connected = True
        self.slices = Slices()

    @property
    def view(self) -> Tables:
        """As api.Store.view."""
        return self._view

    async def look_up(self, kind: str, ref: str) -> bool:
        """As api.Store.look_up: nobody else writes to it, so the view lacks nothing."""
        return False

    def subscribe(
        self, *kinds: str, backlog: int = MAX_BACKLOG
    ) -> AbstractAsyncContextManager[Subscription]:
        """As api.Store.subscribe."""
        return self._feed.subscribe(*kinds, backlog=backlog)

    def past(self, *kinds: str) -> list[Event]:
        """As api.Store.past."""
        return self._feed.past(*kinds)

    def resync(self) -> None:
        """Make every subscriber start over, as a compacted watch does."""
        self._feed.resync()

    async def commit(
        self, changes: Sequence[Change], fence: Fence | None = None, guard: Guard | None = None
    ) -> int:
        """As api.Store.commit."""
        return self.commit_now(changes, fence, guard)

    async def commit_many(
        self, changes: Sequence[Change], fence: Fence | None = None
    ) -> list[Change]:
        """As api.Store.commit_many."""
        return self.commit_many_now(changes, fence)

    def commit_many_now(
        self, changes: Sequence[Change], fence: Fence | None = None
    ) -> list[Change]:
        """commit_many without an event loop, for the simulation."""
        refused: list[Change] = []
        for change in changes:
            try:
                self.commit_now([change], fence)
            except Conflict:
                refused.append(change)
            except InvalidSpec as error:
                log.error("left out of a batch: %s", error)
        return refused

    def commit_now(
        self, changes: Sequence[Change], fence: Fence | None = None, guard: Guard | None = None
    ) -> int:
        """commit without an event loop, for the simulation."""
        if fence is not None and fence.epoch != self.epoch:
            raise Fenced
        if len(changes) > MAX_OPERATIONS:
            raise InvalidSpec(
                f"{len(changes)} changes in one transaction, {MAX_OPERATIONS} at most"
            )
        for change in changes:
            check_size(change.obj, change.obj.ByteSize())
            stored = self._view.table(kind_of(change.obj)).get(change.obj.id)
            if (stored.meta.version.index if stored else 0) != change.obj.meta.version.index:
                raise Conflict(
                    f"{kind_of(change.obj)} {name_of(change.obj)}: update out of sequence"
                )
        for change in changes:
            self._check_name(change)
        if guard is not None and guard.version != self._view.guards.get(guard.name, 0):
            raise GuardMoved
        self._view.revision += 1
        if guard is not None:
            self._view.guards[guard.name] = self._view.revision
        self._feed.publish([self._apply(change) for change in changes])
        return self._view.revision

    def _check_name(self, change: Change) -> None:
        name, kind = claimed_name(change), kind_of(change.obj)
        if name and isinstance(change, Put) and self._view.table(kind).named_alike(name):
            raise AlreadyExists(f"{kind} {name_of(change.obj)} already exists")

    def _apply(self, change: Change) -> Event:
        kind = kind_of(change.obj)
        table = self._view.table(kind)
        if isinstance(change, Delete):
            table.pop(change.obj.id)
            return Event(Action.REMOVE, kind, change.obj)
        assert isinstance(change, Put)
        obj = type(change.obj)()
        obj.CopyFrom(change.obj)  # type: ignore[arg-type]  # same type, by construction
        obj.meta.version.index = self._view.revision
        obj.meta.updated_at.FromDatetime(self._now())
        old = table.put(obj)
        if old is None:
            obj.meta.created_at.CopyFrom(obj.meta.updated_at)
            obj.meta.created_version.CopyFrom(obj.meta.version)
        return Event(Action.UPDATE if old else Action.CREATE, kind, obj, old)
