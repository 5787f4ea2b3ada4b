"""A client of etcd over mTLS to all members: aetcd's messages and stubs over a channel of our own.

aetcd's own client connects without TLS and to one address, and its watch dies with the connection.
Every call carries `hasleader`, so that a member without a quorum refuses rather than hang, and
waits for a member to be reachable up to its timeout. Errors are swarmlite's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc.aio
from aetcd import rpc as etcd

from swarmlite import rpc
from swarmlite.errors import (
    Conflict,
    FailedPrecondition,
    ResourceExhausted,
    SwarmliteError,
    Unavailable,
)
from swarmlite.tallies import Outcomes

from .prefixed import Prefix

CALL_TIMEOUT_S = 5.0
MANAGERS_NAME = "swarm-manager"
"""In the certificates of the managers' own etcd."""
PAGE = 1000
_METADATA = (("hasleader", "true"),)


FULL = (
    "the cluster's store is full and takes no writes: remove services, secrets or configs that are"
    " not needed, or start every manager's swarmlited with a greater --etcd-quota; managers then"
    " make room and take writes again by themselves, within a minute"
)


class Compacted(Exception):
    """The revision that was asked for is gone: list again."""


def prefix_end(prefix: bytes) -> bytes:
    """The first key after every key that begins with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _translate(error: grpc.aio.AioRpcError) -> SwarmliteError | Compacted:
    details = error.details() or ""
    if "compacted" in details:
        return Compacted(details)
    if "database space exceeded" in details:
        return ResourceExhausted(FULL)
    if "request is too large" in details or "grpc: received message larger" in details:
        return ResourceExhausted("the change is larger than the store takes at once (1.5 MiB)")
    if "no leader" in details or "leader changed" in details or "timed out" in details:
        return Unavailable("the managers have no quorum: etcd has no leader")
    if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
        return FailedPrecondition(details)
    if error.code() is grpc.StatusCode.ABORTED:
        return Conflict(details)
    if error.code() is grpc.StatusCode.CANCELLED:
        return Unavailable("the connection to etcd was closed")
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unavailable("etcd did not answer in time: too few managers may be up for a quorum")
    return rpc.translate(error, "etcd")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise Unavailable("etcd did not answer in time") from error
    except grpc.aio.AioRpcError as error:
        raise _translate(error) from error
    except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:
        raise Unavailable("the connection to etcd was closed") from error
    except asyncio.CancelledError as error:
        # gRPC cancels the calls of a channel that is closed; only a task's own end is passed on.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise Unavailable("the connection to etcd was closed") from error


class EtcdClient:
    """One channel to all members. Methods raise Unavailable, ResourceExhausted and so on."""

    def __init__(
        self,
        endpoints: Sequence[str],
        certificates_dir: Path,
        *,
        server_name: str = MANAGERS_NAME,
        prefix: bytes = b"",
    ) -> None:
        """`endpoints` are "HOST:PORT". Connects at the first call.

        `server_name` is what the members' certificates bear, empty without TLS; `prefix` comes
        before every key, for an etcd that others use too.
        """
        self.calls: defaultdict[str, Outcomes] = defaultdict(Outcomes)
        """How calls ended and how long they took, by kind: txn, range, put."""
        self._endpoints = list(endpoints)
        self._certificates_dir = certificates_dir
        self._server_name = server_name
        self._prefix = Prefix(prefix)
        self._connect()

    def _connect(self) -> None:
        self._channel = (
            rpc.secure_channel(self._endpoints, self._certificates_dir, self._server_name)
            if self._server_name
            else rpc.plain_channel(self._endpoints)
        )
        self._kv = etcd.KVStub(self._channel)
        self._watch = etcd.WatchStub(self._channel)
        self._lease = etcd.LeaseStub(self._channel)
        self._cluster = etcd.ClusterStub(self._channel)
        self._maintenance = etcd.MaintenanceStub(self._channel)

    @property
    def endpoints(self) -> list[str]:
        """The members' client addresses, as last known."""
        return list(self._endpoints)

    async def reconnect(
        self,
        endpoints: Sequence[str] | None = None,
        switched: Callable[[], object] = lambda: None,
    ) -> None:
        """A new channel: with new endpoints, or after the node's certificate was renewed.

        `switched` is called once new calls take it, and streams are to move; calls on the old one
        have CALL_TIMEOUT_S to end.
        """
        old = self._channel
        if endpoints:
            self._endpoints = list(endpoints)
        self._connect()
        switched()
        await old.close(CALL_TIMEOUT_S)

    async def close(self) -> None:
        """Ends every call."""
        await self._channel.close()

    async def _call(self, method: Any, request: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        kind = type(request).__name__.removesuffix("Request").lower()
        with _translated(), self.calls[kind].one():
            return await method(request, timeout=timeout_s, metadata=_METADATA, wait_for_ready=True)

    # keys
    async def txn(
        self, request: etcd.TxnRequest, timeout_s: float = CALL_TIMEOUT_S
    ) -> etcd.TxnResponse:
        """One transaction. Not repeated: after Unavailable it may have been written."""
        answer = await self._call(self._kv.Txn, self._prefix.asked(request), timeout_s)
        return self._prefix.answered(answer)

    async def get(self, key: bytes, revision: int = 0) -> tuple[etcd.KeyValue | None, int]:
        """A key's value (at `revision`, else now) and etcd's revision now. Raises Compacted."""
        request = etcd.RangeRequest(key=self._prefix(key), revision=revision)
        answer = await self._call(self._kv.Range, request)
        kvs = self._prefix.found(answer.kvs)
        return (kvs[0] if kvs else None), answer.header.revision

    async def put(self, key: bytes, value: bytes, lease: int = 0) -> None:
        """Write a key without comparing."""
        request = etcd.PutRequest(key=self._prefix(key), value=value, lease=lease)
        await self._call(self._kv.Put, request)

    async def any_of(self, prefixes: Sequence[bytes]) -> bytes | None:
        """A key under one of the prefixes, or None: nothing is there."""
        for prefix in prefixes:
            async for _, kvs in self.pages(prefix, limit=1):
                if kvs:
                    return bytes(kvs[0].key)
                break
        return None

    async def delete_all(self, prefix: bytes) -> int:
        """Remove everything under `prefix`; how many keys that were."""
        request = etcd.DeleteRangeRequest(
            key=self._prefix(prefix), range_end=self._prefix(prefix_end(prefix))
        )
        return int((await self._call(self._kv.DeleteRange, request)).deleted)

    async def compact(self, revision: int) -> None:
        """Forget what was before the revision; that it was done already is no error."""
        request = etcd.CompactionRequest(revision=revision, physical=True)
        with contextlib.suppress(Compacted):
            await self._call(self._kv.Compact, request)

    async def pages(
        self, prefix: bytes, limit: int = PAGE
    ) -> AsyncIterator[tuple[int, Sequence[etcd.KeyValue]]]:
        """Everything under `prefix` at one revision, page by page. Raises Compacted."""
        key, revision, end = prefix, 0, self._prefix(prefix_end(prefix))
        while True:
            request = etcd.RangeRequest(
                key=self._prefix(key), range_end=end, limit=limit, revision=revision
            )
            try:
                answer = await self._call(self._kv.Range, request, timeout_s=4 * CALL_TIMEOUT_S)
            except ResourceExhausted:
                # A page of large objects, secrets say, is more than a message may have.
                if limit == 1:
                    raise
                limit = max(1, limit // 8)
                continue
            revision = revision or answer.header.revision
            kvs = self._prefix.found(answer.kvs)
            yield revision, kvs
            if not answer.more:
                return
            key = kvs[-1].key + b"\0"

    async def watch(
        self, key: bytes, revision: int, range_end: bytes = b"", *, fragment: bool = False
    ) -> AsyncIterator[Sequence[etcd.Event]]:
        """Batches of events from `revision` on, an empty one first, once the watch is in place.

        With `fragment` a batch of more than 1.5 MiB comes in parts, which may divide a revision.
        Ends by Compacted, or by Unavailable when the connection breaks.
        """
        call = self._watch.Watch(metadata=_METADATA, wait_for_ready=True)
        try:
            create = etcd.WatchCreateRequest(
                key=self._prefix(key),
                range_end=self._prefix(range_end),
                start_revision=revision,
                fragment=fragment,
            )
            # Driven by write(): an iterator that never ends keeps the call from being closed.
            with _translated():
                await call.write(etcd.WatchRequest(create_request=create))
            while True:
                with _translated():
                    answer = await call.read()
                if answer is grpc.aio.EOF:
                    raise Unavailable("etcd ended the watch")
                if answer.compact_revision:
                    raise Compacted(f"revision {revision} was compacted")
                if answer.canceled:
                    raise Unavailable(f"etcd ended the watch: {answer.cancel_reason}")
                if answer.created or answer.events:
                    yield self._prefix.happened(answer.events)
        finally:
            call.cancel()

    async def history(
        self, key: bytes, first: int, last: int, range_end: bytes = b""
    ) -> AsyncGenerator[Sequence[etcd.Event], None]:
        """Batches of events of these revisions, read again; at the last one one key was written.

        Raises Compacted, and Unavailable when they do not come.
        """
        # etcd sends a thousand revisions at once, which may be more than a message takes.
        events = self.watch(key, first, range_end, fragment=True)
        try:
            while True:
                try:
                    async with asyncio.timeout(CALL_TIMEOUT_S):
                        batch = await anext(events)
                except TimeoutError as error:
                    raise Unavailable("etcd did not report what was written") from error
                yield [event for event in batch if event.kv.mod_revision <= last]
                if batch and batch[-1].kv.mod_revision >= last:
                    return
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    # leases
    async def grant(self, ttl_s: int) -> int:
        """A lease of `ttl_s` seconds; answers its id."""
        return int((await self._call(self._lease.LeaseGrant, etcd.LeaseGrantRequest(TTL=ttl_s))).ID)

    async def keep_alive(self, lease: int, timeout_s: float) -> int:
        """Renew once; answers the seconds left, 0 when the lease is gone."""

        call = self._lease.LeaseKeepAlive(metadata=_METADATA, timeout=timeout_s)
        try:
            with _translated():
                await call.write(etcd.LeaseKeepAliveRequest(ID=lease))
                answer = await call.read()
        finally:
            call.cancel()
        if answer is grpc.aio.EOF:
            raise Unavailable("etcd ended the lease's renewal")
        return int(answer.TTL)

    async def revoke(self, lease: int) -> None:
        """End a lease, and the keys with it."""
        await self._call(self._lease.LeaseRevoke, etcd.LeaseRevokeRequest(ID=lease))

    # members
    async def members(self) -> Sequence[etcd.Member]:
        """Every member, learners included."""
        answer = await self._call(self._cluster.MemberList, etcd.MemberListRequest())
        return list(answer.members)

    async def add_learner(self, peer_url: str) -> tuple[int, Sequence[etcd.Member]]:
        """Add a member that does not vote yet; its id, and all members."""
        request = etcd.MemberAddRequest(peerURLs=[peer_url], isLearner=True)
        answer = await self._call(self._cluster.MemberAdd, request)
        return answer.member.ID, list(answer.members)

    async def promote(self, member_id: int) -> None:
        """Let a learner vote. Raises FailedPrecondition until it has caught up."""
        await self._call(self._cluster.MemberPromote, etcd.MemberPromoteRequest(ID=member_id))

    async def remove_member(self, member_id: int) -> None:
        """Take a member out."""
        await self._call(self._cluster.MemberRemove, etcd.MemberRemoveRequest(ID=member_id))

    async def update_member(self, member_id: int, peer_url: str) -> None:
        """Another address for a member's peers."""
        request = etcd.MemberUpdateRequest(ID=member_id, peerURLs=[peer_url])
        await self._call(self._cluster.MemberUpdate, request)

    async def alarms(self) -> Sequence[etcd.AlarmMember]:
        """What members raised: NOSPACE (1) of one that is full, CORRUPT (2)."""
        answer = await self._call(self._maintenance.Alarm, etcd.AlarmRequest(action=0))
        return list(answer.alarms)

    async def disarm(self, alarm: etcd.AlarmMember) -> None:
        """Take an alarm back."""
        request = etcd.AlarmRequest(action=2, memberID=alarm.memberID, alarm=alarm.alarm)
        await self._call(self._maintenance.Alarm, request)

    async def defragment(self, timeout_s: float) -> None:
        """Write the connected member's file without its holes; it answers nobody meanwhile."""
        await self._call(self._maintenance.Defragment, etcd.DefragmentRequest(), timeout_s)

    async def move_leader(self, member_id: int) -> None:
        """From the connected member, which leads, to another one."""
        request = etcd.MoveLeaderRequest(targetID=member_id)
        await self._call(self._maintenance.MoveLeader, request)

    async def status(self) -> etcd.StatusResponse:
        """One member's own account: version, size, leader."""
        return await self._call(self._maintenance.Status, etcd.StatusRequest())
