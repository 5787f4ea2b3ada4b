"""The store on etcd: implements api.Store by a mirror and by transactions that compare.

A change compares the mod revision of its object (0: does not exist); a leader's change also
compares the create revision of the election key, which is the fence. When a transaction fails,
what it compared is read, so that the others of a batch are tried again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime

from aetcd import rpc as etcd
from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.errors import (
    AlreadyExists,
    Conflict,
    InvalidSpec,
    ResourceExhausted,
    SwarmliteError,
    Unavailable,
)
from swarmlite.proto.types_pb2 import Meta

from .api import (
    MAX_BACKLOG,
    MAX_OPERATIONS,
    Change,
    Event,
    Fence,
    Fenced,
    Guard,
    GuardMoved,
    Object,
    Put,
    Subscription,
    check_size,
    claimed_name,
    kind_of,
)
from .etcd_client import Compacted, EtcdClient, prefix_end
from .etcd_mirror import GUARDS, PREFIX, RELIST_S, Learn, Mirror, key_of
from .sealing import StoreKeys, is_sealed
from .selfcheck import CHECK_S, LATE_S, SelfCheck
from .slices import Slices
from .tables import Tables, name_of

log = logging.getLogger(__name__)

ELECTION_KEY = PREFIX + b"election/leader"
MAX_BYTES = 1_300_000
"""Of the objects in one transaction; etcd takes 1.5 MiB with the keys and compares."""
IN_FLIGHT = 4
YIELD_EVERY = 250
"""Changes that are serialized before other work has its turn."""
REACH_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 6.0
ATTEMPT_S = 1.5
RETRY_S = 0.1
NAME_ATTEMPTS = 5
LONGEST_REF = 255


@asynccontextmanager
async def open_store(
    client: EtcdClient,
    keys: StoreKeys,
    relist_s: float = RELIST_S,
    learn: Learn | None = None,
    checked_as: str = "",
    check_s: float = CHECK_S,
    late_s: float = LATE_S,
) -> AsyncIterator[EtcdStore]:
    """A store whose view is whole, until leaving. Waits for etcd as long as it takes, and until
    `learn` has added the keys that are missing. `checked_as` is the name under which a store that
    is open for long checks itself against etcd.
    """
    mirror = Mirror(client, keys, relist_s, learn)
    store = EtcdStore(client, mirror, keys)
    try:
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(mirror.run(), name="mirror")]
            try:
                await mirror.listed.wait()
                if checked_as:
                    check = SelfCheck(client, mirror, checked_as, check_s, late_s)
                    store.check = check
                    loops.append(group.create_task(check.run(), name="self-check"))
                yield store
            finally:
                for loop in loops:
                    loop.cancel()
    except BaseExceptionGroup as group_error:
        if len(group_error.exceptions) == 1:  # the body's own error, as it was
            raise group_error.exceptions[0] from None
        raise


class _Stamp:
    """The times of a write, as bytes to append to an object: a message that is read later in the
    same bytes overrides. That spares a copy of every object.
    """

    def __init__(self, now: Timestamp) -> None:
        # A field of 0 is not written, and would not override.
        now = Timestamp(seconds=now.seconds, nanos=now.nanos or 1)
        self._meta = {True: Meta(created_at=now, updated_at=now), False: Meta(updated_at=now)}
        self._suffixes: dict[tuple[type, bool], bytes] = {}

    def of(self, obj: Object) -> bytes:
        """What to append to `obj`."""
        key = type(obj), not obj.meta.version.index
        suffix = self._suffixes.get(key)
        if suffix is None:
            suffix = self._suffixes[key] = key[0](meta=self._meta[key[1]]).SerializeToString()
        return suffix


class _Item:
    """One change, serialized: what a transaction needs of it."""

    __slots__ = ("change", "key", "name_key", "name_revision", "value", "version")

    def __init__(self, change: Change, stamp: _Stamp, keys: StoreKeys) -> None:
        obj = change.obj
        self.change = change
        self.version = obj.meta.version.index
        self.key = key_of(kind_of(obj), obj.id)
        name = claimed_name(change)
        self.name_key = key_of(f"names/{kind_of(obj)}", name) if name else b""
        self.name_revision = 0
        """At which the name's key is expected: 0, or of what a name of nothing was left at."""
        self.value: bytes | None = None
        if isinstance(change, Put):
            # The version in it is an old one: etcd's own mod revision says it.
            self.value = obj.SerializeToString() + stamp.of(obj)
            if is_sealed(obj):
                self.value = keys.seal(self.key, self.value)

    @property
    def size(self) -> int:
        return len(self.key) + len(self.value or b"")

    @property
    def operations(self) -> int:
        return 2 if self.name_key else 1

    @property
    def claims(self) -> bool:
        """Whether it takes a name."""
        return bool(self.name_key) and self.value is not None


class EtcdStore:
    """Implements api.Store; made by open_store."""

    def __init__(
        self,
        client: EtcdClient,
        mirror: Mirror,
        keys: StoreKeys,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.client = client
        self.check: SelfCheck | None = None
        """What compares the view with etcd, of a store that is open for long."""
        self._mirror = mirror
        self._keys = keys
        self._now = now

    @property
    def view(self) -> Tables:
        """As api.Store.view."""
        return self._mirror.view

    @property
    def slices(self) -> Slices:
        """As api.Store.slices."""
        return self._mirror.slices

    @property
    def connected(self) -> bool:
        """Whether the view follows etcd now; else it may be old."""
        return self._mirror.connected

    def subscribe(
        self, *kinds: str, backlog: int = MAX_BACKLOG
    ) -> AbstractAsyncContextManager[Subscription]:
        """As api.Store.subscribe."""
        return self._mirror.feed.subscribe(*kinds, backlog=backlog)

    def past(self, *kinds: str) -> list[Event]:
        """As api.Store.past."""
        return self._mirror.feed.past(*kinds)

    async def commit(
        self, changes: Sequence[Change], fence: Fence | None = None, guard: Guard | None = None
    ) -> int:
        """As api.Store.commit."""
        items = self._items(changes)
        operations = sum(item.operations for item in items)
        if operations > MAX_OPERATIONS:
            raise InvalidSpec(f"{operations} changes in one transaction, {MAX_OPERATIONS} at most")
        for item in items:
            check_size(item.change.obj, item.size)
        if len({item.key for item in items}) < len(items):
            raise InvalidSpec("one transaction changes an object twice")
        revision, differing = await self._transact(items, fence, guard)
        if differing:
            obj = differing[0].change.obj
            raise Conflict(f"{kind_of(obj)} {name_of(obj)}: update out of sequence")
        await self._mirror.reached(revision, REACH_TIMEOUT_S)
        return revision

    async def reconnect(self) -> None:
        """To etcd by the certificate that is there now; the view follows it without a break."""
        await self.client.reconnect(switched=self._mirror.watch_again)

    async def look_up(self, kind: str, ref: str) -> bool:
        """As api.Store.look_up."""
        if len(ref) > LONGEST_REF or not self.connected:
            return False
        request = etcd.TxnRequest()
        by_id, key = request.success.add().request_range, key_of(kind, ref)
        by_id.key, by_id.range_end, by_id.limit, by_id.keys_only = key, prefix_end(key), 2, True
        request.success.add().request_range.key = key_of(f"names/{kind}", ref.lower())
        try:
            answer = await self.client.txn(request, ATTEMPT_S)
        except (SwarmliteError, Compacted) as error:
            log.info("%s %s is not looked up: %s", kind, ref, error)
            return False
        found = [kv.mod_revision for each in answer.responses for kv in each.response_range.kvs]
        try:
            await self._mirror.reached(max(found, default=0), REACH_TIMEOUT_S)
        except Unavailable as error:
            raise Unavailable(
                f"{kind} {ref} is in the store, but this manager has not seen it yet: ask another"
                " manager"
            ) from error
        return bool(found)

    async def commit_many(
        self, changes: Sequence[Change], fence: Fence | None = None
    ) -> list[Change]:
        """As api.Store.commit_many; IN_FLIGHT transactions at a time."""
        refused: list[Change] = []
        last = 0
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def write(items: list[_Item]) -> None:
            nonlocal last
            while items:
                async with slots:
                    revision, differing = await self._transact(items, fence)
                last = max(last, revision)
                if not differing:
                    return
                refused.extend(item.change for item in differing)
                keys = {item.key for item in differing}
                items = [item for item in items if item.key not in keys]

        items: list[_Item] = []
        for start in range(0, len(changes), YIELD_EVERY):
            items += filter(_fits, self._items(changes[start : start + YIELD_EVERY]))
            await asyncio.sleep(0)
        for wave in _waves(items):
            writers = []
            try:
                for chunk in _chunks(wave):
                    writers.append(asyncio.ensure_future(write(chunk)))
                await asyncio.gather(*writers)
            finally:
                for writer in writers:
                    writer.cancel()
                await asyncio.gather(*writers, return_exceptions=True)
        await self._mirror.reached(last, REACH_TIMEOUT_S)
        return refused

    def _items(self, changes: Sequence[Change]) -> list[_Item]:
        now = Timestamp()
        now.FromDatetime(self._now())
        stamp = _Stamp(now)
        return [_Item(change, stamp, self._keys) for change in changes]

    async def _transact(
        self, items: Sequence[_Item], fence: Fence | None, guard: Guard | None = None
    ) -> tuple[int, list[_Item]]:
        """The revision; where it was refused, the items that differ and the last revision of these.
        Raises AlreadyExists for a name that is taken, GuardMoved, Fenced, Unavailable.
        """
        self._mirror.refuse_if_gone_back()
        for _ in range(NAME_ATTEMPTS):
            result = await self._attempt(items, fence, guard)
            if result is not None:
                return result
        raise Unavailable("names are given back and taken all the time; try again")

    async def _attempt(
        self, items: Sequence[_Item], fence: Fence | None, guard: Guard | None
    ) -> tuple[int, list[_Item]] | None:
        """As _transact; None when a name turned out to be nobody's, and it is to be tried again.

        A request that was under way to an etcd leader that died is lost, and nobody says so: it
        is sent again. What compares versions cannot be written twice, and when the first had been
        written after all, the values that are found are this one's own.
        """
        deadline = time.monotonic() + WRITE_TIMEOUT_S
        repeated = False
        while True:
            left_s = deadline - time.monotonic()
            try:
                timeout_s = min(ATTEMPT_S, max(left_s, 0.1))
                answer = await self.client.txn(_request(items, fence, guard), timeout_s)
                if answer.succeeded:
                    return answer.header.revision, []
                found = await self._found(_reads(items, fence, guard, values=repeated), timeout_s)
                break
            except Unavailable:
                if time.monotonic() + RETRY_S > deadline:
                    raise
                repeated = True
                await asyncio.sleep(RETRY_S)
            except ResourceExhausted:
                if not (revision := await self._written(items)):
                    raise
                return revision, []
        leader = found.pop() if fence is not None else None
        guarded: etcd.KeyValue | None = found.pop() if guard is not None else None
        found, names = found[: len(items)], found[len(items) :]
        if repeated and all(_is_own(item, kv) for item, kv in zip(items, found, strict=True)):
            written = (kv.mod_revision for kv in found if kv is not None)
            return max(written, default=self.view.revision), []
        if fence is not None and (leader is None or leader.create_revision != fence.epoch):
            raise Fenced
        differing = {
            item: kv.mod_revision if kv else 0
            for item, kv in zip(items, found, strict=True)
            if (kv.mod_revision if kv else 0) != item.version
        }
        if differing:
            return max(differing.values()), list(differing)
        # Not the whole etcd's revision: in one that others use too the view may never reach that.
        others = [kv.mod_revision for kv in (guarded, *names) if kv is not None]
        await self._mirror.reached(max(others, default=0), REACH_TIMEOUT_S)
        if guard is not None and (guarded.mod_revision if guarded else 0) != guard.version:
            raise GuardMoved
        for item, kv in zip(filter(_claims, items), names, strict=True):
            self._check_name(item, kv)
        return None

    async def _written(self, items: Sequence[_Item]) -> int:
        """The revision at which the items were written, 0 when they were not.

        A store that fills up may write what it answers with an error
        (findings/etcd-full-store-writes-what-it-refuses.sh); it can still be read.
        """
        found = await self._found(_reads(items, None, None, values=True))
        found = found[: len(items)]
        if not all(_is_own(item, kv) for item, kv in zip(items, found, strict=True)):
            return 0
        return max((kv.mod_revision for kv in found if kv is not None), default=0)

    async def _found(
        self, reads: etcd.TxnRequest, timeout_s: float = ATTEMPT_S
    ) -> list[etcd.KeyValue | None]:
        answer = await self.client.txn(reads, timeout_s)
        return [next(iter(each.response_range.kvs), None) for each in answer.responses]

    def _check_name(self, item: _Item, kv: etcd.KeyValue | None) -> None:
        """Raise AlreadyExists for a name that an object has; expect the key as it was found."""
        obj = item.change.obj
        if kv is not None and kv.value.decode() in self.view.table(kind_of(obj)):
            raise AlreadyExists(f"{kind_of(obj)} {name_of(obj)} already exists")
        # Left by something that is gone: by a release that did not keep names.
        item.name_revision = kv.mod_revision if kv is not None else 0


def _fits(item: _Item) -> bool:
    try:
        check_size(item.change.obj, item.size)
    except InvalidSpec as error:
        log.error("left out of a batch: %s", error)
        return False
    return True


def _claims(item: _Item) -> bool:
    return item.claims


def _is_own(item: _Item, kv: etcd.KeyValue | None) -> bool:
    """Whether what lies there is what `item` writes; its time of writing makes it unmistakable."""
    if kv is None:
        return item.value is None
    return bool(kv.value == item.value)


def _request(items: Sequence[_Item], fence: Fence | None, guard: Guard | None) -> etcd.TxnRequest:
    request = etcd.TxnRequest()
    for item in items:
        # EQUAL and MOD; for a key that does not exist etcd compares with 0.
        request.compare.add(result=0, target=2, key=item.key, mod_revision=item.version)
        if item.value is None:
            request.success.add().request_delete_range.key = item.key
            if item.name_key:
                request.success.add().request_delete_range.key = item.name_key
        else:
            put = request.success.add().request_put
            put.key, put.value = item.key, item.value
    for item in filter(_claims, items):
        request.compare.add(result=0, target=2, key=item.name_key, mod_revision=item.name_revision)
        put = request.success.add().request_put
        put.key, put.value = item.name_key, item.change.obj.id.encode()
    if guard is not None:
        key = GUARDS + guard.name.encode()
        request.compare.add(result=0, target=2, key=key, mod_revision=guard.version)
        request.success.add().request_put.key = key
    if fence is not None:
        request.compare.add(result=0, target=1, key=ELECTION_KEY, create_revision=fence.epoch)
    return request


def _reads(
    items: Sequence[_Item], fence: Fence | None, guard: Guard | None, values: bool
) -> etcd.TxnRequest:
    """What a request that was refused compared, in this order: the items, the names that they take,
    the guard, the election.

    Not the request's own else branch, which each member would read, log and send on with every
    write that succeeds. What differed then may be as expected by now, a name that was given back
    say: the request is made again.
    """
    request = etcd.TxnRequest()
    for item in items:
        read = request.success.add().request_range
        read.key, read.keys_only = item.key, not values
    for item in filter(_claims, items):
        request.success.add().request_range.key = item.name_key
    if guard is not None:
        request.success.add().request_range.key = GUARDS + guard.name.encode()
    if fence is not None:
        read = request.success.add().request_range
        read.key, read.keys_only = ELECTION_KEY, True
    return request


def _waves(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    """Every object once a wave, so that its changes keep their order."""
    rest = list(items)
    while rest:
        seen: set[bytes] = set()
        wave: list[_Item] = []
        later: list[_Item] = []
        for item in rest:
            (later if item.key in seen else wave).append(item)
            seen.add(item.key)
        yield wave
        rest = later


def _chunks(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    """Under MAX_OPERATIONS and MAX_BYTES each; a larger object goes by itself."""
    chunk: list[_Item] = []
    size = operations = 0
    for item in items:
        full = operations + item.operations > MAX_OPERATIONS or size + item.size > MAX_BYTES
        if chunk and full:
            yield chunk
            chunk, size, operations = [], 0, 0
        chunk.append(item)
        size += item.size
        operations += item.operations
    if chunk:
        yield chunk
