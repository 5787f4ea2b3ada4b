"""Who leads: one key in etcd, held by a lease; its create revision is the leader's epoch.

The lease only makes a dead leader's key go away. What keeps two leaders from both writing is the
fence: every write of a leader's loop compares the key's create revision (store.api.Fence).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from aetcd import rpc as etcd

from swarmlite.errors import SwarmliteError

from .loop import Loop, Tally, run
from .store.api import Fence, Fenced, Store
from .store.etcd import ELECTION_KEY
from .store.etcd_client import Compacted, EtcdClient

log = logging.getLogger(__name__)

TTL_S, LONGEST_TTL_S = 3, 24
STEADY_S = 60.0
"""A manager that loses terms shorter than this is on a slow host, and leads by longer leases."""
RETRY_S = 0.5
_DELETE = 1


class Lost(Exception):
    """The lease ran out, or could not be renewed in time."""


class Term:
    """One term of leadership; `epoch` fences its writes."""

    def __init__(self, client: EtcdClient, epoch: int, lease: int, ttl_s: int) -> None:
        self.epoch = epoch
        self._client = client
        self._lease = lease
        self._ttl_s = ttl_s
        self.began = self._renewed = time.monotonic()

    async def hold(self) -> None:
        """Renew the lease until cancelled. Raises Lost."""
        while True:
            await asyncio.sleep(self._ttl_s / 4)
            asked = time.monotonic()
            left_s = self._renewed + self._ttl_s - asked
            if left_s <= 0:
                raise Lost
            try:
                if not await self._client.keep_alive(self._lease, min(left_s, self._ttl_s / 2)):
                    raise Lost
                self._renewed = asked
            except SwarmliteError as error:
                log.info("the lease was not renewed: %s", error)

    async def resign(self) -> None:
        """Give the key up, so that another may lead at once. Never raises."""
        try:
            async with asyncio.timeout(2):
                await self._client.revoke(self._lease)
        except (SwarmliteError, TimeoutError, Compacted) as error:
            log.info("the lease runs out by itself: %s", error)


class Election:
    """This manager's candidacy."""

    def __init__(
        self,
        client: EtcdClient,
        node_id: str,
        ttl_s: int = TTL_S,
        willing: Callable[[], bool] = lambda: True,
    ) -> None:
        """`willing`: whether it stands for election now; a manager that is to go does not."""
        self._client = client
        self._node_id = node_id
        self._ttl_s = self._shortest_s = ttl_s
        self._short_terms = 0
        self._willing = willing

    async def campaign(self) -> Term:
        """Return once this manager leads, through every failure of etcd."""
        while True:
            try:
                term = await self._attempt()
                if term is not None:
                    return term
            except (SwarmliteError, Compacted) as error:
                log.info("the election waits: %s", error)
                await asyncio.sleep(RETRY_S)

    def lost(self, term: Term) -> None:
        """A term's lease ran out. Where that happens again and again, a processor that stalls for
        as long would never lead: from the second short term in a row on leases are twice as long.
        """
        if time.monotonic() - term.began > STEADY_S:
            self._short_terms, self._ttl_s = 0, self._shortest_s
            return
        self._short_terms += 1
        if self._short_terms > 1:
            self._ttl_s = max(self._ttl_s, min(2 * self._ttl_s, LONGEST_TTL_S))

    async def _attempt(self) -> Term | None:
        holder, revision = await self._client.get(ELECTION_KEY)
        if holder is not None:
            if holder.value == self._node_id.encode():
                # This manager's own, of before it was restarted: one process a node, it is dead.
                await self._take_away(holder)
            else:
                await self._vacancy(revision)
        if not self._willing():
            await asyncio.sleep(RETRY_S)
            return None
        lease = await self._client.grant(self._ttl_s)
        request = etcd.TxnRequest()
        request.compare.add(result=0, target=1, key=ELECTION_KEY, create_revision=0)
        put = request.success.add().request_put
        put.key, put.value, put.lease = ELECTION_KEY, self._node_id.encode(), lease
        answer = await self._client.txn(request)
        if answer.succeeded:
            return Term(self._client, answer.header.revision, lease, self._ttl_s)
        await self._client.revoke(lease)
        return None

    async def _take_away(self, holder: etcd.KeyValue) -> None:
        request = etcd.TxnRequest()
        request.compare.add(
            result=0, target=1, key=ELECTION_KEY, create_revision=holder.create_revision
        )
        request.success.add().request_delete_range.key = ELECTION_KEY
        await self._client.txn(request)

    async def _vacancy(self, revision: int) -> None:
        """Until the key is deleted."""
        watch = self._client.watch(ELECTION_KEY, revision + 1)
        try:
            async for events in watch:
                if any(event.type == _DELETE for event in events):
                    return
        finally:
            await watch.aclose()  # type: ignore[attr-defined]


async def run_leader(
    store: Store,
    election: Election,
    make_loops: Callable[[], Sequence[Loop]],
    duties: Sequence[Callable[[Fence], Awaitable[None]]] = (),
    clock: Callable[[], float] = time.time,
    tallies: defaultdict[str, Tally] | None = None,
) -> None:
    """Campaign, lead, and campaign again, until cancelled.

    Each term drives new loops from `make_loops` and `duties`, coroutines that run as long as the
    term. Whatever ends one of them ends the term: the lease lost and Fenced quietly, a failure
    of etcd with a line, any other error with a traceback. What the loops did is counted in
    `tallies`, by name.
    """
    counted = defaultdict(Tally) if tallies is None else tallies
    while True:
        term = await election.campaign()
        fence = Fence(term.epoch)
        log.info("leading, epoch %d", term.epoch)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(term.hold())
                for loop in make_loops():
                    name = type(loop).__name__
                    running = run(loop, store, fence, clock, tally=counted[name.lower()])
                    group.create_task(running, name=name)
                for duty in duties:
                    group.create_task(_run_duty(duty, fence))
        except* (Lost, Fenced):
            log.warning("no longer the leader of epoch %d", term.epoch)
            election.lost(term)
        except* SwarmliteError as group_error:
            log.warning("the term ended: %s", group_error.exceptions[0])
        except* Exception:
            log.exception("a loop of the leader died")
        finally:
            await asyncio.shield(term.resign())
        await asyncio.sleep(RETRY_S)


async def _run_duty(duty: Callable[[Fence], Awaitable[None]], fence: Fence) -> None:
    await duty(fence)
