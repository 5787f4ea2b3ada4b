"""The embedded etcd's members: added as learners, promoted, shown in the nodes' manager status.

One member a manager, named by its node id. `keep` is the leader's duty.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError, Unavailable
from swarmlite.model.validate.checks import host_port
from swarmlite.proto.ca_pb2 import AddMemberResponse
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import ManagerStatus

from . import roles
from .store.api import Fence, Fenced, Put, Store
from .store.etcd_client import Compacted, EtcdClient
from .store.etcd_mirror import PREFIX

log = logging.getLogger(__name__)

PROMOTE_S, LEARNING_S = 0.5, 0.1
"""Between rounds, and while a learner catches up: its manager serves nobody before it votes."""
LEARNING_FOR_S = 30.0
"""One that has not caught up by then may never do so."""
SETTLE_S = 10.0
PRESENCE = PREFIX + b"managers/"
PRESENCE_TTL_S = 6
T = TypeVar("T")


class EtcdMembers:
    """Implements ca.service.Members."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client

    async def add(self, node_id: str, peer_url: str) -> AddMemberResponse:
        """As ca.service.Members.add. One learner at a time: another raises FailedPrecondition."""
        peer_url = _checked(peer_url)
        members = await self._client.members()
        known = next((m for m in members if peer_url in m.peerURLs), None)
        if known is not None and known.name not in ("", node_id):
            raise FailedPrecondition(f"{peer_url} is the member of node {known.name}")
        if known is None:
            try:
                member_id, members = await _settled(partial(self._client.add_learner, peer_url))
            except FailedPrecondition as error:
                raise FailedPrecondition(f"etcd takes no member now: {error}") from error
        else:
            member_id = known.ID
        # Started members have a name; this one's is known only here until it starts.
        peers = [
            f"{node_id if member_id == m.ID else m.name}={url}"
            for m in members
            for url in m.peerURLs
            if m.name or member_id == m.ID
        ]
        endpoints = [urlsplit(url).netloc for m in members for url in m.clientURLs]
        return AddMemberResponse(
            initial_cluster=",".join(peers), endpoints=endpoints, member_id=member_id
        )

    async def remove(self, node_id: str, member_id: str = "") -> None:
        """As ca.service.Members.remove. One that never started has no name: `member_id` is its id,
        in hexadecimal digits.
        """
        for member in await self._client.members():
            if (node_id and member.name == node_id) or (
                not member.name and f"{member.ID:x}" == member_id
            ):
                await _settled(partial(self._client.remove_member, member.ID))

    async def unstarted(self) -> dict[str, str]:
        """Members that never started: their ids, in hexadecimal digits, and peer URLs."""
        members = await self._client.members()
        return {f"{m.ID:x}": ",".join(m.peerURLs) for m in members if not m.name}

    async def promote_learners(self) -> int:
        """Let learners vote that have caught up; how many are left."""
        learners = [m for m in await self._client.members() if m.isLearner]
        left = 0
        for member in learners:
            try:
                await self._client.promote(member.ID)
                log.info("etcd member %s votes now", member.name or member.ID)
            except FailedPrecondition:
                left += 1
        return left


class NoMembers:
    """Implements ca.service.Members where the store is an etcd that was there before."""

    async def add(self, node_id: str, peer_url: str) -> AddMemberResponse:
        """Only a node of a release that does not know of such a store asks for it."""
        raise FailedPrecondition(
            "the cluster's store is an etcd of its own, which this node's release of swarmlite does"
            " not know: install the managers' release on it"
        )

    async def remove(self, node_id: str, member_id: str = "") -> None:
        """A manager has none to take out."""


def _checked(peer_url: str) -> str:
    scheme, _, rest = peer_url.partition("://")
    if scheme != "https":
        raise InvalidSpec(f"{peer_url[:80]!r} is not a peer URL: expected https://IP:PORT")
    return "https://" + host_port("peer URL", rest)


async def _settled(change: Callable[[], Awaitable[T]]) -> T:
    """Repeat a change of membership while etcd refuses it: it wants 5 s of quiet after another."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            return await change()
        except Unavailable as error:
            if time.monotonic() > deadline:
                raise
            log.info("etcd takes no change of its members yet: %s", error)
            await asyncio.sleep(PROMOTE_S)


class Presence:
    """Which managers answer: each keeps a key under a lease, and the leader reads them all."""

    def __init__(self, client: EtcdClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._seen: dict[str, float] = {}
        self._announced = clock()

    async def announce(self, node_id: str) -> None:
        """Keep this manager's key, until cancelled, through every failure of etcd."""
        while True:
            try:
                lease = await self._client.grant(PRESENCE_TTL_S)
                await self._client.put(PRESENCE + node_id.encode(), b"", lease)
                while True:
                    asked = self._clock()
                    if not await self._client.keep_alive(lease, PRESENCE_TTL_S / 2):
                        break
                    self._announced = asked
                    await asyncio.sleep(PRESENCE_TTL_S / 3)
            except SwarmliteError as error:
                log.info("presence: %s", error)
                await asyncio.sleep(PROMOTE_S)

    def announced(self) -> bool:
        """Whether this manager's own key is kept: else others take it for dead, or soon will."""
        return self._clock() - self._announced < PRESENCE_TTL_S

    async def refresh(self) -> None:
        """Read who is there now."""
        now = self._clock()
        async for _, kvs in self._client.pages(PRESENCE):
            for kv in kvs:
                self._seen[kv.key[len(PRESENCE) :].decode()] = now

    def answers(self, node_id: str) -> bool:
        """Whether the manager was there lately; one that is new has a moment to appear."""
        now = self._clock()
        return now - self._seen.setdefault(node_id, now) < PRESENCE_TTL_S


def manager_statuses(
    store: Store, node_id: str, answers: Callable[[str], bool] = lambda _: True
) -> list[Put]:
    """What to write so that only this node leads, and who does not answer unreachable."""
    changes = []
    for node in store.view.nodes.managers():
        copy = Node()
        copy.CopyFrom(node)
        copy.manager_status.leader = node.id == node_id
        copy.manager_status.reachability = (
            ManagerStatus.REACHABLE if answers(node.id) else ManagerStatus.UNREACHABLE
        )
        if copy != node:
            changes.append(Put(copy))
    return changes


class Pace:
    """How long the leader waits after each round."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._learning_since: float | None = None

    def after(self, learners: int) -> float:
        """Seconds, after a round that left so many learners."""
        if not learners:
            self._learning_since = None
            return PROMOTE_S
        now = self._clock()
        if self._learning_since is None:
            self._learning_since = now
        return LEARNING_S if now - self._learning_since < LEARNING_FOR_S else PROMOTE_S


async def keep(
    members: EtcdMembers | None, presence: Presence, store: Store, node_id: str, fence: Fence
) -> None:
    """A leader's duty: keeps the managers' statuses, promotes learners, takes out who is no manager
    any more and what an interrupted join left. Raises Fenced.
    """
    lost, pace, learners = roles.LostLearners(), Pace(), 0
    while True:
        try:
            await presence.refresh()
            changes = manager_statuses(store, node_id, presence.answers)
            if changes:
                await store.commit_many(changes, fence)
            if members is not None:
                learners = await members.promote_learners()
                await lost.look(members, store, fence)
            await roles.demote(members, presence.answers, store, node_id, fence)
        except Fenced:
            raise
        except (SwarmliteError, Compacted) as error:
            log.info("members: %s", error)
        except Exception:
            log.exception("members: what this round was to do is left to the next")
        await asyncio.sleep(pace.after(learners))
