"""Blobs of one image from other nodes: one after the other, until one has given it right.

storage.images.peers.Peers. A node that is slow, dies, truncates or lies is passed over; one that
gave the blob to two others already names these.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from swarmlite import rpc
from swarmlite.agent.carrying.finding import Candidate, Finder, Found
from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    ResourceExhausted,
    SwarmliteError,
    Unavailable,
)
from swarmlite.proto.blobs_pb2 import BlobPart, BlobPeer, FetchBlobRequest
from swarmlite.proto.blobs_pb2_grpc import BlobsStub
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.peers import Sink

log = logging.getLogger(__name__)

MAX_ATTEMPTS, MAX_SENT_ON = 24, 250
PATIENCE_S = 60.0
"""How long those are asked again who are slow or busy, or have yet to get it themselves."""
PAUSE_S = 0.25
"""Before one of these is asked again."""
FIRST_S = 8.0
"""How long the first part is waited for, connection and all."""
STALL_S = 25.0
SLOW_WINDOW_S, SLOWEST_BYTES_S = 30.0, 4096
IDLE_S, LIFE_S = 30.0, 600.0
AHEAD_BYTES = 2 << 20
"""What another node may send before it is read here: of each blob, this is what memory holds.

Left to itself gRPC lets it grow with the network's speed, to tens of MiB. At 20 ms to the other
node it is 100 MB a second still.
"""


def channel_to(address: str, node_id: str, certificates_dir: Path) -> grpc.aio.Channel:
    """mTLS to the node's Blobs service."""
    options = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", AHEAD_BYTES))
    return rpc.secure_channel([address], certificates_dir, node_id, options)


class Late(Unavailable):
    """A node has not answered in time: it may be slow only."""


class Channels:
    """Connections to other nodes, kept while they are used."""

    def __init__(self, opened: Callable[[str, str], grpc.aio.Channel]) -> None:
        """`opened` makes one to (address, node id), which its certificate must bear."""
        self._opened = opened
        self._kept: dict[tuple[str, str], list[Any]] = {}  # channel, made at, used at, users

    async def close(self, *, idle_only: bool = False) -> None:
        """All of them, or those that nobody used for a while."""
        now = time.monotonic()
        for key, (channel, made, used, users) in list(self._kept.items()):
            old = not users and (now - used > IDLE_S or now - made > LIFE_S)
            if old or not idle_only:
                del self._kept[key]
                await channel.close()

    async def parts(
        self, candidate: Candidate, request: FetchBlobRequest
    ) -> AsyncIterator[BlobPart]:
        """The answer to one request, each part in time. Raises swarmlite's errors."""
        await self.close(idle_only=True)
        key, now = (candidate.addr, candidate.node_id), time.monotonic()
        kept = self._kept.setdefault(key, [None, now, now, 0])
        if kept[0] is None:
            kept[0] = self._opened(*key)
        kept[3] += 1
        call = BlobsStub(kept[0]).Fetch(request)
        try:
            async for part in _in_time(call, candidate):
                yield part
        except grpc.aio.AioRpcError as error:
            raise rpc.translate(error, f"node {candidate.name}") from error
        finally:
            call.cancel()
            kept[2], kept[3] = time.monotonic(), kept[3] - 1


async def _in_time(call: Any, candidate: Candidate) -> AsyncIterator[BlobPart]:
    patience_s, began, received = FIRST_S, time.monotonic(), 0
    while True:
        try:
            async with asyncio.timeout(patience_s):
                part = await call.read()
        except TimeoutError as error:
            raise Late(f"nothing came within {patience_s:g} s") from error
        if part is grpc.aio.EOF:
            code = await call.code()
            if code != grpc.StatusCode.OK:
                raise Unavailable(str(await call.details()) or code.name)
            return
        yield part
        patience_s, received, now = STALL_S, received + len(part.data), time.monotonic()
        if now - began > SLOW_WINDOW_S:
            if received < SLOWEST_BYTES_S * SLOW_WINDOW_S:
                raise Unavailable(f"it sends less than {SLOWEST_BYTES_S} bytes a second")
            began, received = now, 0


@dataclass
class _Search:
    """One blob's: who is still to be asked, and what those said who were."""

    ahead: list[Candidate]
    tried: set[str] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)
    gave: list[Candidate] = field(default_factory=list)
    """Who sent bytes that are in the sink now."""
    unmixed: bool = False
    """Bytes of several were wrong together: now each gives the whole."""
    begun: bool = False
    """Some of the bytes are of an earlier download."""
    later: dict[str, Candidate] = field(default_factory=dict)
    """Who may give it yet, by id: they are asked again once nobody else is left."""
    waited_for: set[str] = field(default_factory=set)
    patient_until: float = 0.0
    attempts: int = 0
    sent_on: int = 0

    async def next(self) -> Candidate | None:
        """Whom to ask now; None where nobody is left."""
        if not self.ahead:
            self.ahead, self.later = [*reversed(self.later.values())], {}
        if not self.ahead or self.attempts >= MAX_ATTEMPTS:
            return None
        candidate = self.ahead.pop()
        self.later.pop(candidate.node_id, None)
        if candidate.node_id in self.waited_for:
            await asyncio.sleep(PAUSE_S)
        return candidate

    def failed(self, candidate: Candidate, error: str | SwarmliteError) -> None:
        """It gave nothing, and does not count as tried for as long as it may give it yet.

        Whoever sends others on gives the blob himself, once more than his share, to those who have
        tried them all. Who is late twice has most likely no power.
        """
        self.said[candidate.name] = str(error)
        not_yet = isinstance(error, FailedPrecondition | ResourceExhausted) or (
            isinstance(error, Late) and candidate.node_id not in self.waited_for
        )
        now = time.monotonic()
        self.patient_until = self.patient_until or now + PATIENCE_S
        if not_yet and now < self.patient_until:
            self.later[candidate.node_id] = candidate
            self.waited_for.add(candidate.node_id)
        else:
            self.tried.add(candidate.node_id)
            self.attempts += 1


class NodePeers:
    """The other nodes that may have the image with one digest."""

    def __init__(self, digest: str, finder: Finder, channels: Channels, carrying: Carrying) -> None:
        self._digest, self._finder, self._channels = digest, finder, channels
        self._carrying = carrying
        self._found: Found | None = None
        self._finding = asyncio.Lock()

    async def fetch(self, sink: Sink) -> None:
        """See storage.images.peers.Peers."""
        found = await self._find()
        if not found.candidates:
            raise Unavailable("no other node has it or expects it")
        search = _Search(list(reversed(found.candidates)), begun=sink.have > 0)
        try:
            while (candidate := await search.next()) is not None:
                if await self._from(candidate, sink, search):
                    return
        finally:
            self._carrying.coming.pop(sink.digest, None)
        asked = ", ".join(f"{name} ({why})" for name, why in search.said.items())
        raise Unavailable(f"asked of nodes: {asked}")

    async def _find(self) -> Found:
        async with self._finding:
            if self._found is None or not self._found.fresh:
                self._found = await self._finder.find(self._digest)
            return self._found

    async def _from(self, candidate: Candidate, sink: Sink, search: _Search) -> bool:
        """Whether the blob is here and right."""
        if candidate.node_id in search.tried:
            return False
        if search.unmixed:
            sink.restart()
        before = sink.have
        self._carrying.coming[sink.digest] = candidate.node_id
        why: str | SwarmliteError = "it sent too little"
        instead: list[BlobPeer] = []
        try:
            instead = await self._receive(candidate, sink, search)
        except OSError:
            raise
        except SwarmliteError as error:
            why = error
        if sink.have > before:
            search.gave.append(candidate)
        if instead:
            self._sent_on(candidate, instead, search)
            return False
        if sink.complete:
            if await in_thread(sink.is_right):
                return True
            self._damaged(sink, search)
            return False
        search.failed(candidate, why)
        return False

    async def _receive(self, candidate: Candidate, sink: Sink, search: _Search) -> list[BlobPeer]:
        found = await self._find()
        request = FetchBlobRequest(
            ticket=found.ticket,
            digest=sink.digest,
            offset=sink.have,
            port=self._carrying.port,
            tried=sorted(search.tried),
            wait=candidate.wait,
        )
        first = True
        async for part in self._channels.parts(candidate, request):
            if part.instead:
                return list(part.instead)
            if first:
                sink.expect(part.size_bytes)
                first = False
            if part.data:
                await sink.write(part.data)
                self._carrying.received[candidate.node_id] += len(part.data)
        if first:
            raise InvalidSpec("it sent nothing")
        return []

    def _sent_on(self, candidate: Candidate, instead: list[BlobPeer], search: _Search) -> None:
        """Ask those, and whoever sent us there again, should they all fail."""
        others = [
            Candidate(one.node_id, one.addr, wait=True)
            for one in instead
            if one.node_id not in search.tried and one.addr
        ]
        random.shuffle(others)
        search.sent_on += 1
        if not others or search.sent_on > MAX_SENT_ON:
            search.failed(candidate, "it sends us to others only")
            return
        search.ahead += [candidate, *others]

    def _damaged(self, sink: Sink, search: _Search) -> None:
        """What came is wrong: who sent it all is a liar; of several, nobody knows who it was."""
        sink.restart()
        gave, search.gave = search.gave, []
        log.warning(
            "a blob arrived damaged digest=%s from=%s", sink.digest, [one.name for one in gave]
        )
        search.attempts += 1
        begun, search.begun = search.begun, False
        if begun or len({one.node_id for one in gave}) != 1:
            search.unmixed = True
            search.tried -= {one.node_id for one in gave}
            search.ahead += [one for one in gave if one not in search.ahead]
            return
        search.tried.add(gave[0].node_id)
        search.said[gave[0].name] = "it sent another content"


class Carrying:
    """What this node's giving and taking share."""

    def __init__(self, finder: Finder, channels: Channels) -> None:
        self._finder, self._channels = finder, channels
        self.port = 0
        """Of this node's own Blobs service."""
        self.coming: dict[str, str] = {}
        """Which node each blob is on its way here from."""
        self.received: Counter[str] = Counter()
        """Bytes, by the node that they came from."""

    def peers(self, digest: str) -> NodePeers:
        """Of the image with this index or manifest."""
        return NodePeers(digest, self._finder, self._channels, self)

    async def close(self) -> None:
        """Close what connections are left."""
        await self._channels.close()
