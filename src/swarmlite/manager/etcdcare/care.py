"""What a manager does for its member of etcd: defragments it when that pays, makes room in a store
that is full, starts it again when it has to trust other roots. One member at a time is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from swarmlite.errors import SwarmliteError, Unavailable
from swarmlite.manager.store.api import Store
from swarmlite.manager.store.etcd_client import Compacted
from swarmlite.proto.control_pb2 import StoreHealthRequest, StoreMember

from . import turns
from .health import NOSPACE, Health
from .restarts import Restarts

log = logging.getLogger(__name__)

LOOK_S, LOOK_WHEN_FULL_S, LOOK_WHEN_WAITING_S = 30.0, 3.0, 2.0
PAUSE_TIMES = 20
"""So many times as long as a defragmentation took, none follows it in a store that is full."""
AWAY_S = 120.0
"""A defragmentation's time at most: 4 GiB take a minute on a slow disk."""


class Care:
    """Of one manager's member."""

    def __init__(self, health: Health, store: Store, node_id: str, restarts: Restarts) -> None:
        self._health, self._store, self._node_id = health, store, node_id
        self._restarts = restarts
        self._compacted = self._defragmented = 0
        """The revisions up to which history was forgotten, and that the last one had been at."""
        self._not_before = 0.0

    async def run(self) -> None:
        """Ends only by cancellation."""
        while True:
            delay_s = LOOK_S
            try:
                delay_s = await self.look()
            except (SwarmliteError, Compacted) as error:
                log.info("etcd's care waits: %s", error)
            await asyncio.sleep(delay_s * random.uniform(0.8, 1.2))

    async def look(self) -> float:
        """One round; in how many seconds the next one is due. Raises SwarmliteError, Compacted."""
        health = self._health
        await health.look_at_disk()
        full = NOSPACE in await health.alarms()
        if full:
            await self._compact()
        health.restart_wanted = await self._restarts.wanted()
        health.defragment_wanted = self._defragmentation_is_due(await health.own(), full)
        told = set(health.warnings)
        whole = await health.whole(StoreHealthRequest())
        for line in whole.warnings:
            if line not in told:
                log.warning("%s", line)
        members = list(whole.members)
        if full and turns.has_room(members, health.quota_bytes):
            await self._disarm()
        elif not await self._in_turn(members, _wants_restart, self._restarts.restart):
            await self._in_turn(members, _wants_defragmentation, self._defragment)
        if any(_wants_restart(m) or _wants_defragmentation(m) for m in members):
            return LOOK_WHEN_WAITING_S
        return LOOK_WHEN_FULL_S if full else LOOK_S

    async def _compact(self) -> None:
        """Forget the history, all of it."""
        revision = self._store.view.revision
        if revision > self._compacted:
            await self._health.client.compact(revision)
            self._compacted = revision

    def _defragmentation_is_due(self, own: StoreMember, full: bool) -> bool:
        """What is used inside of a file, etcd counts at the next write: a store that is full has
        none, and says the old number after a compaction. There each compaction is followed by a
        defragmentation, but not all the time.
        """
        if not full:
            return turns.pays(own)
        return (
            not turns.has_room([own], self._health.quota_bytes)
            and self._compacted > self._defragmented
            and time.monotonic() >= self._not_before
        )

    async def _disarm(self) -> None:
        """Every file has room: writes are taken again."""
        for alarm in await self._health.client.alarms():
            if alarm.alarm == NOSPACE:
                await self._health.client.disarm(alarm)
        log.info("the store has room again: it takes writes")

    async def _in_turn(
        self,
        members: Sequence[StoreMember],
        wants: turns.Wants,
        act: Callable[[], Awaitable[None]],
    ) -> bool:
        """Act if this member wants it and is the next; whether it did."""
        own = next((m for m in members if m.node_id == self._node_id), None)
        if own is None or not wants(own) or not turns.is_first(members, self._node_id, wants):
            return False
        async with self._away():
            # Others that looked at the same moment see that this one is away, or the reverse.
            again = await self._health.members()
            if not turns.is_first(again, self._node_id, wants):
                return False
            if any(m.leader and m.node_id == self._node_id for m in again) and len(again) > 1:
                await self._hand_over()
                return True
            await act()
        return True

    @contextlib.asynccontextmanager
    async def _away(self) -> AsyncIterator[None]:
        self._health.busy = True
        try:
            yield
        finally:
            self._health.busy = False

    async def _hand_over(self) -> None:
        """Another leads etcd before this member is away: the round after this one acts."""
        own = (await self._health.client.status()).header.member_id
        for member in await self._health.client.members():
            if own != member.ID and member.name and not member.isLearner:
                with contextlib.suppress(Unavailable):
                    await self._health.client.move_leader(member.ID)
                    log.info("etcd is led by the member of %s from now on", member.name)
                    return

    async def _defragment(self) -> None:
        log.info("defragmenting this manager's etcd")
        compacted, begun = self._compacted, time.monotonic()
        await self._health.client.defragment(AWAY_S)
        self._defragmented, self._health.defragment_wanted = compacted, False
        self._not_before = time.monotonic() + PAUSE_TIMES * (time.monotonic() - begun)


def _wants_restart(member: StoreMember) -> bool:
    return member.restart_wanted


def _wants_defragmentation(member: StoreMember) -> bool:
    return member.defragment_wanted
