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
"""A manager whose process stands still leads by longer leases, until the shortest would have
sufficed for so long.
"""
RETRY_S = 0.5
_DELETE = 1


class Lost(Exception):
    """The lease ran out, or could not be renewed in time."""


class Term:
    """One term of leadership; `epoch` fences its writes."""

    def __init__(self, election: Election, epoch: int, lease: int, ttl_s: int) -> None:
        self.epoch = epoch
        self.steady = False
        """Whether the shortest lease would have sufficed by now for as long as Election says."""
        self.late = False
        """Whether it was lost because this process stood still for longer than its lease."""
        self._election = election
        self._client = election.client
        self._lease = lease
        self._ttl_s = ttl_s
        self._renewed = time.monotonic()

    async def hold(self) -> None:
        """Renew the lease until cancelled; by the shortest once that is steady. Raises Lost."""
        shortest_s = self._election.shortest_s
        asked = calm_since = self._renewed
        while True:
            before = asked
            await asyncio.sleep(shortest_s / 4)
            asked = time.monotonic()
            past_s = asked - self._renewed
            if past_s >= self._ttl_s:
                self.late = asked - before > self._ttl_s
                raise Lost
            if past_s >= shortest_s:
                calm_since = asked
            self.steady = asked - calm_since > self._election.steady_s
            try:
                if self.steady and self._ttl_s > shortest_s:
                    await self._shorten(shortest_s)
                else:
                    timeout_s = min(self._ttl_s - past_s, self._ttl_s / 2)
                    if not await self._client.keep_alive(self._lease, timeout_s):
                        raise Lost
                self._renewed = asked
            except SwarmliteError as error:
                log.info("the lease was not renewed: %s", error)

    async def _shorten(self, ttl_s: int) -> None:
        """The same key, and epoch, under a shorter lease. Raises Lost where it may be under either,
        and Unavailable while it is under the old one.
        """
        lease = await self._client.grant(ttl_s)
        try:
            answer = await self._client.txn(self._election.claim(self.epoch, lease), ttl_s / 2)
        except SwarmliteError as error:
            raise Lost from error
        if not answer.succeeded:
            raise Lost
        log.info("the lease is %d s again, not %d s", ttl_s, self._ttl_s)
        old, self._lease, self._ttl_s = self._lease, lease, ttl_s
        await self._give_up(old)

    async def resign(self) -> None:
        """Give the key up, so that another may lead at once. Never raises."""
        await self._give_up(self._lease)

    async def _give_up(self, lease: int) -> None:
        try:
            async with asyncio.timeout(2):
                await self._client.revoke(lease)
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
        steady_s: float = STEADY_S,
    ) -> None:
        """`willing`: whether it stands for election now; a manager that is to go does not. `ttl_s`
        is the shortest lease, `steady_s` for how long it is to have sufficed before it is again.
        """
        self.client = client
        self.shortest_s, self.steady_s = ttl_s, steady_s
        self._node_id = node_id
        self._ttl_s = ttl_s
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

    def ended(self, term: Term) -> None:
        """A term is over. Where this process stands still for longer than its lease again and
        again it would never lead: leases are twice as long from the second such term on, until
        one is steady.
        """
        if term.steady:
            self._short_terms, self._ttl_s = 0, self.shortest_s
        elif term.late:
            self._short_terms += 1
            if self._short_terms > 1:
                self._ttl_s = max(self._ttl_s, min(2 * self._ttl_s, LONGEST_TTL_S))

    def claim(self, created: int, lease: int) -> etcd.TxnRequest:
        """What puts the key under `lease` where its create revision is `created`, 0 for no key."""
        request = etcd.TxnRequest()
        request.compare.add(result=0, target=1, key=ELECTION_KEY, create_revision=created)
        put = request.success.add().request_put
        put.key, put.value, put.lease = ELECTION_KEY, self._node_id.encode(), lease
        return request

    async def _attempt(self) -> Term | None:
        holder, revision = await self.client.get(ELECTION_KEY)
        if holder is not None:
            if holder.value == self._node_id.encode():
                # This manager's own, of before it was restarted: one process a node, it is dead.
                await self._take_away(holder)
            else:
                await self._vacancy(revision)
        if not self._willing():
            await asyncio.sleep(RETRY_S)
            return None
        lease = await self.client.grant(self._ttl_s)
        answer = await self.client.txn(self.claim(0, lease))
        if answer.succeeded:
            return Term(self, answer.header.revision, lease, self._ttl_s)
        await self.client.revoke(lease)
        return None

    async def _take_away(self, holder: etcd.KeyValue) -> None:
        request = etcd.TxnRequest()
        request.compare.add(
            result=0, target=1, key=ELECTION_KEY, create_revision=holder.create_revision
        )
        request.success.add().request_delete_range.key = ELECTION_KEY
        await self.client.txn(request)

    async def _vacancy(self, revision: int) -> None:
        """Until the key is deleted."""
        watch = self.client.watch(ELECTION_KEY, revision + 1)
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
        except* SwarmliteError as group_error:
            log.warning("the term ended: %s", group_error.exceptions[0])
        except* Exception:
            log.exception("a loop of the leader died")
        finally:
            election.ended(term)
            await asyncio.shield(term.resign())
        await asyncio.sleep(RETRY_S)


async def _run_duty(duty: Callable[[Fence], Awaitable[None]], fence: Fence) -> None:
    await duty(fence)
