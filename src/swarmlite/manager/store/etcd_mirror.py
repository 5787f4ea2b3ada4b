"""The mirror of etcd's keys: a list at a revision, then a watch from the next one.

A watch that breaks goes on after the last revision seen; one whose revision was compacted starts
over with a list, and every subscriber with it. A watch is a hint: every RELIST_S the whole is
listed and compared anyway, and what differs is published.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from aetcd import rpc as etcd
from google.protobuf.message import DecodeError

from swarmlite.errors import SwarmliteError, Unavailable

from .api import Action, Event, Object, type_of_kind
from .etcd_client import Compacted, EtcdClient, prefix_end
from .feed import Feed
from .sealing import StoreKeys, UnknownKey, Unreadable
from .tables import Tables

log = logging.getLogger(__name__)

PREFIX = b"/swarmlite/v1/"
RELIST_S = 600.0
RETRY_S = (0.05, 2.0)
GUARDS = PREFIX + b"guards/"
_DELETE = 1

Learn = Callable[[], Awaitable[None]]
"""Adds the keys that other managers have and this one lacks. Raises swarmlite's errors."""


def key_of(kind: str, object_id: str) -> bytes:
    """Where an object lies."""
    return b"%s%s/%s" % (PREFIX, kind.encode(), object_id.encode())


def decode(kv: etcd.KeyValue, keys: StoreKeys) -> tuple[str, Object] | None:
    """A key's kind and object with its version; None for keys that are not objects, and for what
    cannot be read, which is logged. Raises UnknownKey.
    """
    kind = kv.key[len(PREFIX) :].partition(b"/")[0].decode()
    message = type_of_kind.get(kind)
    if message is None:
        return None
    try:
        value = keys.open(kv.key, kv.value)
        obj: Object = message.FromString(value)  # type: ignore[attr-defined]
    except DecodeError:
        log.error("passed over key=%r: it is not a %s", kv.key, kind)
        return None
    except Unreadable as error:
        log.error("passed over key=%r: %s", kv.key, error)
        return None
    obj.meta.version.index = kv.mod_revision
    obj.meta.created_version.index = kv.create_revision
    return kind, obj


class Mirror:
    """Keeps `view` as etcd has it, publishes what changes to `feed`."""

    def __init__(
        self,
        client: EtcdClient,
        keys: StoreKeys,
        relist_s: float = RELIST_S,
        learn: Learn | None = None,
    ) -> None:
        self.view = Tables()
        self.feed = Feed()
        self.listed = asyncio.Event()
        """Set once the view is whole for the first time."""
        self.connected = False
        """Whether the watch is in place now; else the view may be old."""
        self._client = client
        self._keys = keys
        self._relist_s = relist_s
        self._learn = learn
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._waited = 0

    async def reached(self, revision: int, timeout_s: float) -> None:
        """Return once the view has reached `revision`. Raises Unavailable after `timeout_s`."""
        if self.view.revision >= revision:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waited += 1
        heapq.heappush(self._waiters, (revision, self._waited, future))
        try:
            await asyncio.wait_for(future, timeout_s)
        except TimeoutError as error:
            raise Unavailable("it was written, but this manager has not seen it yet") from error

    def _advance(self, revision: int) -> None:
        self.view.revision = max(self.view.revision, revision)
        while self._waiters and self._waiters[0][0] <= self.view.revision:
            future = heapq.heappop(self._waiters)[2]
            if not future.done():
                future.set_result(None)

    async def run(self) -> None:
        """List and watch until cancelled, through every failure of etcd."""
        delay_s, relist = RETRY_S[0], True
        while True:
            try:
                if relist:
                    await self._list(resync=self.listed.is_set())
                    relist = False
                started = time.monotonic()
                await self._watch()
                await self._list(resync=False)
            except Compacted:
                log.warning("the watch was compacted: listing again")
                relist = True
            except UnknownKey as error:
                relist, self.connected = True, False
                if not await self._learnt(error):
                    await asyncio.sleep(delay_s)
                    delay_s = min(2 * delay_s, RETRY_S[1])
            except SwarmliteError as error:
                if self.connected:
                    delay_s = RETRY_S[0]
                    log.warning(
                        "the watch broke after %.0f s: %s", time.monotonic() - started, error
                    )
                self.connected = False
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, RETRY_S[1])
            except Exception:
                # Every reader of this manager lives on the view: it is read from the start.
                log.exception("the mirror failed: listing again")
                self.connected, relist = False, True
                await asyncio.sleep(RETRY_S[1])

    async def _learnt(self, missing: UnknownKey) -> bool:
        """Whether the key is there now; what is sealed with it is waited for, not passed over."""
        try:
            if self._learn is not None:
                await self._learn()
        except (SwarmliteError, Compacted) as error:
            log.error("%s, and none was learnt: %s", missing, error)
            return False
        if missing.key_id not in self._keys:
            log.error("%s, and no other manager that answers has it", missing)
            return False
        return True

    async def _watch(self) -> None:
        """Follow the watch for relist_s seconds."""
        until = time.monotonic() + self._relist_s
        watch = self._client.watch(PREFIX, self.view.revision + 1, prefix_end(PREFIX))
        try:
            while (left := until - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(left):
                        events = await anext(watch)
                except TimeoutError:
                    return
                self.connected = True
                if events:
                    self._apply(events)
        finally:
            await watch.aclose()  # type: ignore[attr-defined]

    def _apply(self, changes: Sequence[etcd.Event]) -> None:
        events = []
        for change in changes:
            if change.type == _DELETE:
                event = self._removed(change.kv.key)
            else:
                event = self._written(change.kv)
            if event is not None:
                events.append(event)
        # No await since the first change: nobody sees the tables without the revision.
        self._advance(changes[-1].kv.mod_revision)
        if events:
            self.feed.publish(events)

    def _written(self, kv: etcd.KeyValue) -> Event | None:
        if kv.key.startswith(GUARDS):
            self.view.guards[kv.key[len(GUARDS) :].decode()] = kv.mod_revision
            return None
        decoded = decode(kv, self._keys)
        if decoded is None:
            return None
        kind, obj = decoded
        old = self.view.table(kind).put(obj)
        return Event(Action.UPDATE if old else Action.CREATE, kind, obj, old)

    def _removed(self, key: bytes) -> Event | None:
        kind, _, object_id = key[len(PREFIX) :].decode().partition("/")
        if kind not in type_of_kind:
            return None
        old = self.view.table(kind).pop(object_id)
        return Event(Action.REMOVE, kind, old) if old is not None else None

    async def _list(self, resync: bool) -> None:
        """Read everything; take it up in one step, as events or as a fresh start."""
        tables = Tables()
        async for revision, kvs in self._client.pages(PREFIX):
            tables.revision = revision
            for kv in kvs:
                if kv.key.startswith(GUARDS):
                    tables.guards[kv.key[len(GUARDS) :].decode()] = kv.mod_revision
                    continue
                decoded = decode(kv, self._keys)
                if decoded is not None:
                    tables.table(decoded[0]).put(decoded[1])
            await asyncio.sleep(0)
        events = _difference(self.view, tables) if self.listed.is_set() and not resync else []
        # In place: whoever holds the view goes on with the same one.
        vars(self.view).update(vars(tables))
        self._advance(tables.revision)
        self.listed.set()
        if resync:
            self.feed.resync()
        elif events:
            self.feed.publish(events)


def _difference(old: Tables, new: Tables) -> list[Event]:
    events: list[Event] = []
    for kind in type_of_kind:
        before, after = old.table(kind), new.table(kind)
        for object_id, obj in before.items():
            if object_id not in after:
                events.append(Event(Action.REMOVE, kind, obj))
        for object_id, obj in after.items():
            known = before.get(object_id)
            if known is None:
                events.append(Event(Action.CREATE, kind, obj))
            elif known.meta.version.index != obj.meta.version.index:
                events.append(Event(Action.UPDATE, kind, obj, known))
    return sorted(events, key=lambda event: event.obj.meta.version.index)
