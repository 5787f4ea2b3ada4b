"""The mirror of etcd's keys: a list at a revision, then a watch from the next one.

A watch that breaks goes on after the last revision seen; one whose revision was compacted starts
over with a list, and every subscriber with it. A watch is a hint: `selfcheck` reads again what
changed, and every RELIST_S the whole is listed and compared; what differs is published.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from aetcd import rpc as etcd
from google.protobuf.message import DecodeError

from swarmlite.errors import SwarmliteError, Unavailable

from .api import Action, Event, Object, type_of_kind
from .etcd_client import Compacted, EtcdClient, prefix_end
from .feed import Feed
from .sealing import StoreKeys, UnknownKey, Unreadable
from .slices import Slices
from .tables import Tables

log = logging.getLogger(__name__)

PREFIX = b"/swarmlite/v1/"
RELIST_S = 600.0
RETRY_S = (0.05, 2.0)
FIRST_LIST_RETRY_S = 0.2
"""At most, before there is a view: nobody is served until the own member of etcd votes."""
GUARDS = PREFIX + b"guards/"
CHECKS = PREFIX + b"checks/"
_DELETE = 1
CHUNK = 100
"""Objects that are read before other work has its turn."""

Learn = Callable[[], Awaitable[None]]
"""Adds the keys that other managers have and this one lacks. Raises swarmlite's errors."""


def key_of(kind: str, object_id: str) -> bytes:
    """Where an object lies."""
    return b"%s%s/%s" % (PREFIX, kind.encode(), object_id.encode())


def objects_prefixes() -> list[bytes]:
    """Below which a cluster's objects and their names lie."""
    return [*(key_of(kind, "") for kind in type_of_kind), PREFIX + b"names/"]


def decode(kv: etcd.KeyValue, message: type[Object], keys: StoreKeys) -> Object | None:
    """The object at a key of its kind, with its version; None for what cannot be read, which is
    logged. Raises UnknownKey.
    """
    try:
        obj: Object = message.FromString(keys.open(kv.key, kv.value))
    except DecodeError:
        log.error("passed over key=%r: it is not a %s", kv.key, message.__name__.lower())
        return None
    except Unreadable as error:
        log.error("passed over key=%r: %s", kv.key, error)
        return None
    meta = obj.meta
    meta.version.index = kv.mod_revision
    meta.created_version.index = kv.create_revision
    return obj


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
        self.slices = Slices()
        self.listed = asyncio.Event()
        """Set once the view is whole for the first time."""
        self.connected = False
        """Whether the watch is in place now; else the view may be old."""
        self.gone_back = ""
        """Why etcd is not followed any more, nor written to, as long as this process lives."""
        self.checked = 0
        """The revision up to which the view is known to be right: by a list, or by a check."""
        self.mark_key = b""
        self.marked: tuple[int, Mapping[str, int]] = (0, {})
        """At which revision the watch brought the mark last, and the objects of each kind then."""
        self._newest = b"", 0
        """The key that was written last, as far as is known, and when: etcd is known by it."""
        self._watching: asyncio.Future[None] | None = None
        self._list_next = False
        self._passed_over: set[bytes] = set()
        self._removed_at: dict[bytes, int] = {}
        """When keys were removed, since `checked`: an older event brings none of them back."""
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
                self.refuse_if_gone_back()
                if relist:
                    await self._list(resync=self.listed.is_set())
                    relist = False
                else:
                    await self._same_etcd()
                started = time.monotonic()
                self._list_next = False
                if await self._watched() or self._list_next:
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
                        "the view no longer follows etcd, after %.0f s: %s",
                        time.monotonic() - started,
                        error,
                    )
                self.connected = False
                await asyncio.sleep(delay_s)
                longest_s = RETRY_S[1] if self.listed.is_set() else FIRST_LIST_RETRY_S
                delay_s = min(2 * delay_s, longest_s)
            except Exception:
                # Every reader of this manager lives on the view: it is read from the start.
                log.exception("the mirror failed: listing again")
                self.connected, relist = False, True
                await asyncio.sleep(RETRY_S[1])

    def refuse_if_gone_back(self) -> None:
        """Raise Unavailable where etcd has less than the view: also once it has come further."""
        if self.gone_back:
            raise Unavailable(self.gone_back)

    def _lost(self, before: int, revision: int) -> None:
        """Believe etcd no more, which has not at `revision` what it had at `before`."""
        # Taken up it would be a removal of all that came later, containers included.
        if revision < before:
            seen = f"etcd has gone back from revision {before}, and is at {revision} now"
        else:
            seen = (
                "etcd is not the one that this manager followed: it no longer has what was written"
                f" at revision {before} (it is at {revision})"
            )
        self.gone_back = (
            f"{seen}: it lost data, or older data were brought back. What runs goes on and nothing"
            " is written: bring its own back where they are, then start managers' swarmlited again"
        )
        self.connected = False
        log.error("%s", self.gone_back)
        self.refuse_if_gone_back()

    async def _same_etcd(self) -> None:
        """Raise Unavailable where etcd's history is not the view's: one that lost its data may have
        been written beyond the view's revision since.
        """
        key, written = self._newest
        if not written:
            return
        found, revision = await self._client.get(key)
        # A key that is older now tells by itself: what it was then may be compacted.
        if revision >= written and (found is None or found.mod_revision > written):
            try:
                found, _ = await self._client.get(key, written)
            except Compacted:
                return
        if found is None or found.mod_revision != written:
            self._lost(written, revision)

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

    def watch_again(self) -> None:
        """Begin another watch, from what the view has."""
        if self._watching is not None:
            self._watching.cancel()

    def list_again(self) -> None:
        """List everything and compare, in place of waiting for the time for it."""
        self._list_next = True
        self.watch_again()

    def heal(self, changed: Sequence[etcd.Event], revision: int) -> int:
        """Take up what the view lacks of `changed`, the last events of keys up to `revision`; how
        many objects that were. From then on what is older is ignored. Raises UnknownKey.
        """
        events: list[Event] = []
        try:
            for change in changed:
                if (event := self._taken(change)) is not None:
                    events.append(event)
        finally:
            if events:
                self.feed.publish(events)
        self._check(max(self.checked, revision))
        self._advance(revision)
        return len(events)

    def has(self, change: etcd.Event) -> bool:
        """Whether the view surely has an object as of this change, or as it was written later."""
        kind, object_id = _place(change.kv.key)
        if change.type == _DELETE or kind not in type_of_kind:
            return False
        known = self.view.table(kind).get(object_id)
        return known is not None and known.meta.version.index >= change.kv.mod_revision

    def _check(self, revision: int) -> None:
        self.checked = revision
        self._removed_at = {k: at for k, at in self._removed_at.items() if at > revision}

    async def _watched(self) -> bool:
        """`_watch`; False when it was ended by watch_again."""
        self._watching = asyncio.ensure_future(self._watch())
        try:
            await self._watching
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return False
        finally:
            self._watching = None
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
                for part in _parts(events):
                    async with self.slices.one():
                        self._apply(part)
        finally:
            await watch.aclose()  # type: ignore[attr-defined]

    def _apply(self, changes: Sequence[etcd.Event]) -> None:
        events = []
        for change in changes:
            kv = change.kv
            key, revision = kv.key, kv.mod_revision
            if key == self.mark_key:
                self.marked = revision, self._counts()
            if revision > self._newest[1] and change.type != _DELETE:
                self._newest = key, revision
            event = self._taken(change)
            if event is not None:
                events.append(event)
        # No await since the first change: nobody sees the tables without the revision.
        self._advance(changes[-1].kv.mod_revision)
        if events:
            self.feed.publish(events)

    def _taken(self, change: etcd.Event) -> Event | None:
        """The change in the view, and what to publish of it; nothing of what is known or older."""
        kv = change.kv
        key, revision = kv.key, kv.mod_revision
        if revision <= self.checked:
            return None
        kind, object_id = _place(key)
        message = type_of_kind.get(kind)
        if message is None:
            if key.startswith(GUARDS) and change.type != _DELETE:
                self._guarded(self.view, kv)
            return None
        if change.type == _DELETE:
            return self._removed(kind, object_id, key, revision)
        table = self.view.table(kind)
        known = table.get(object_id)
        if known is not None and known.meta.version.index >= revision:
            return None
        if self._removed_at.get(key, 0) > revision:
            return None
        obj = self._decoded(kv, message, self._passed_over)
        if obj is None:
            return None
        table.put(obj)
        return Event(Action.CREATE if known is None else Action.UPDATE, kind, obj, known)

    def _removed(self, kind: str, object_id: str, key: bytes, revision: int) -> Event | None:
        self._passed_over.discard(key)
        self._removed_at[key] = max(revision, self._removed_at.get(key, 0))
        table = self.view.table(kind)
        known = table.get(object_id)
        if known is None or known.meta.version.index > revision:
            return None
        table.pop(object_id)
        return Event(Action.REMOVE, kind, known)

    def _decoded(
        self, kv: etcd.KeyValue, message: type[Object], passed_over: set[bytes]
    ) -> Object | None:
        decoded = decode(kv, message, self._keys)
        if decoded is None:
            passed_over.add(kv.key)
        else:
            passed_over.discard(kv.key)
        return decoded

    @staticmethod
    def _guarded(tables: Tables, kv: etcd.KeyValue) -> None:
        name = kv.key[len(GUARDS) :].decode()
        tables.guards[name] = max(kv.mod_revision, tables.guards.get(name, 0))

    def _counts(self) -> dict[str, int]:
        """Keys of each kind that the view has, with those that it cannot read."""
        counts = {kind: len(self.view.table(kind)) for kind in type_of_kind}
        for key in self._passed_over:
            counts[_place(key)[0]] += 1
        return counts

    async def _list(self, resync: bool) -> None:
        """Read everything; take it up in one step, as events or as a fresh start."""
        tables = Tables()
        passed_over: set[bytes] = set()
        await self._same_etcd()
        before, newest = self.view.revision, (0, b"")
        async for revision, kvs in self._client.pages(PREFIX):
            if revision < before:
                self._lost(before, revision)
            tables.revision = revision
            for kv in kvs:
                newest = max(newest, (kv.mod_revision, kv.key))
                kind = _place(kv.key)[0]
                message = type_of_kind.get(kind)
                if message is not None:
                    if (obj := self._decoded(kv, message, passed_over)) is not None:
                        tables.table(kind).put(obj)
                elif kv.key.startswith(GUARDS):
                    self._guarded(tables, kv)
            await asyncio.sleep(0)
        events = _difference(self.view, tables) if self.listed.is_set() and not resync else []
        # In place: whoever holds the view goes on with the same one.
        vars(self.view).update(vars(tables))
        self._passed_over, self._newest = passed_over, (newest[1], newest[0])
        self._check(tables.revision)
        self._advance(tables.revision)
        self.listed.set()
        if resync:
            self.feed.resync()
        elif events:
            self.feed.publish(events)


def _parts(events: Sequence[etcd.Event]) -> Iterator[Sequence[etcd.Event]]:
    """A few events each; those of one revision, which were written together, stay together."""
    first = 0
    for at in range(1, len(events)):
        if at - first >= CHUNK and events[at].kv.mod_revision != events[at - 1].kv.mod_revision:
            yield events[first:at]
            first = at
    if first < len(events):
        yield events[first:]


def _place(key: bytes) -> tuple[str, str]:
    """The kind and id of a key of the mirror's."""
    kind, _, object_id = key[len(PREFIX) :].decode().partition("/")
    return kind, object_id


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
