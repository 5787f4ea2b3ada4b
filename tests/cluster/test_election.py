"""The election on a real etcd: who leads, who follows, and that an old leader cannot write."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from etcd_world import KEYS

from swarmlite.ids import new_id
from swarmlite.manager.election import Election, run_leader
from swarmlite.manager.store.api import Change, Event, Fence, Fenced, Put
from swarmlite.manager.store.etcd import ELECTION_KEY, open_store
from swarmlite.manager.store.etcd_client import EtcdClient
from swarmlite.manager.store.tables import Tables
from swarmlite.proto.objects_pb2 import Service, Task


class CountUp:
    """A loop that gives each service one task."""

    kinds = ("service",)

    def __init__(self) -> None:
        self.dirty: set[str] = set()

    def reset(self, view: Tables) -> None:
        self.dirty = {s.id for s in view.services}

    def observe(self, events: Sequence[Event]) -> None:
        self.dirty |= {e.obj.id for e in events}

    def plan(self, view: Tables, now: float) -> list[Change]:
        todo, self.dirty = self.dirty, set()
        return [
            Put(Task(id=new_id(), service_id=i))
            for i in sorted(todo)
            if not view.tasks.of_service(i)
        ]

    def refused(self, changes: Sequence[Change]) -> None:
        self.dirty |= {c.obj.service_id for c in changes if isinstance(c.obj, Task)}

    def wake_at(self) -> float | None:
        return None


async def until(condition: Any, timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


async def lease_of_leader(client: EtcdClient) -> int:
    holder, _ = await client.get(ELECTION_KEY)
    assert holder is not None
    return int(holder.lease)


async def test_the_leaders_loops_run_and_stop_with_the_term(client: EtcdClient) -> None:
    async with open_store(client, KEYS) as store:
        leader = asyncio.create_task(run_leader(store, Election(client, "a"), lambda: [CountUp()]))
        service = Service(id=new_id())
        await store.commit([Put(service)])
        await until(lambda: store.view.tasks.of_service(service.id))
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        another = Service(id=new_id())
        await store.commit([Put(another)])
        await asyncio.sleep(0.3)
        assert not store.view.tasks.of_service(another.id)


async def test_a_dead_leader_is_followed_and_its_writes_are_refused(
    client: EtcdClient, etcd: Any
) -> None:
    other = etcd.client()
    async with open_store(client, KEYS) as first, open_store(other, KEYS) as second:
        old = await Election(client, "a", ttl_s=1).campaign()  # and never renewed: it is frozen
        await first.commit([Put(Service(id=new_id()))], Fence(old.epoch))
        new = await asyncio.wait_for(Election(other, "b").campaign(), 60)
        assert new.epoch > old.epoch
        # The thawed leader does not know yet; etcd does.
        with pytest.raises(Fenced):
            await first.commit([Put(Service(id=new_id()))], Fence(old.epoch))
        with pytest.raises(Fenced):
            await first.commit_many([Put(Service(id=new_id()))], Fence(old.epoch))
        await second.commit([Put(Service(id=new_id()))], Fence(new.epoch))
        assert len(second.view.services) == 2
        await new.resign()
    await other.close()


async def test_a_leader_that_resigns_is_followed_at_once(client: EtcdClient, etcd: Any) -> None:
    other = etcd.client()
    old = await Election(client, "a", ttl_s=600).campaign()  # its lease would last
    waiting = asyncio.create_task(Election(other, "b").campaign())
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await old.resign()
    new = await asyncio.wait_for(waiting, 60)
    await new.resign()
    await other.close()


async def test_a_restarted_manager_leads_again_without_waiting_for_its_old_lease(
    client: EtcdClient,
) -> None:
    old = await Election(client, "a", ttl_s=600).campaign()
    new = await asyncio.wait_for(Election(client, "a").campaign(), 60)
    assert new.epoch > old.epoch
    await new.resign()
    await old.resign()


async def test_a_term_whose_lease_is_gone_ends_and_another_begins(client: EtcdClient) -> None:
    async with open_store(client, KEYS) as store:
        epochs: list[int] = []

        async def duty(fence: Fence) -> None:
            epochs.append(fence.epoch)
            await asyncio.Event().wait()

        election = Election(client, "a", ttl_s=1)
        leader = asyncio.create_task(run_leader(store, election, lambda: [], [duty]))
        await until(lambda: epochs)
        await client.revoke(await lease_of_leader(client))
        await until(lambda: len(epochs) == 2)
        assert epochs[1] > epochs[0]
        # However often: this process was not late, and a longer lease would have been lost too.
        for number in (3, 4):
            await client.revoke(await lease_of_leader(client))
            await until(lambda number=number: len(epochs) == number)
        assert await client.keep_alive(await lease_of_leader(client), 60) == 1
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)


async def test_a_leader_on_a_host_that_stalls_leads_on_by_a_longer_lease(
    client: EtcdClient,
) -> None:
    """Its process stands still for longer than the first lease, again and again."""
    async with open_store(client, KEYS) as store:
        stalls: Counter[int] = Counter()

        async def duty(fence: Fence) -> None:
            while True:
                time.sleep(1.5)  # noqa: ASYNC251 - the stall itself
                stalls[fence.epoch] += 1
                await asyncio.sleep(0.2)

        election = Election(client, "a", ttl_s=1)
        leader = asyncio.create_task(run_leader(store, election, lambda: [], [duty]))
        await until(lambda: max(stalls.values(), default=0) >= 8, 100)
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)


async def test_a_longer_lease_is_short_again_once_its_host_has_been_well_for_long(
    client: EtcdClient,
) -> None:
    """Within the term, whose epoch stays, and for the terms that follow."""
    async with open_store(client, KEYS) as store:
        epochs: list[int] = []

        async def duty(fence: Fence) -> None:
            epochs.append(fence.epoch)
            if len(epochs) <= 2:
                time.sleep(1.5)  # noqa: ASYNC251 - the stall itself
            await asyncio.Event().wait()

        election = Election(client, "a", ttl_s=1, steady_s=2)
        leader = asyncio.create_task(run_leader(store, election, lambda: [], [duty]))
        await until(lambda: len(epochs) == 3, 60)
        long = await lease_of_leader(client)
        assert await client.keep_alive(long, 60) == 2
        async with asyncio.timeout(60):
            while (short := await lease_of_leader(client)) == long:
                await asyncio.sleep(0.02)
            while await client.keep_alive(long, 60):
                await asyncio.sleep(0.02)
        assert await client.keep_alive(short, 60) == 1
        await store.commit([Put(Service(id=new_id()))], Fence(epochs[-1]))
        assert len(epochs) == 3
        await client.revoke(short)
        await until(lambda: len(epochs) == 4, 60)
        assert await client.keep_alive(await lease_of_leader(client), 60) == 1
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
