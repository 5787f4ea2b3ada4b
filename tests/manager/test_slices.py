"""The manager's own long pieces of work: one in each turn of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time

from aetcd import rpc as etcd

from swarmlite.manager.loop import run
from swarmlite.manager.store import etcd_mirror
from swarmlite.manager.store.api import Fence
from swarmlite.manager.store.slices import Slices


class Turns:
    """Counts the event loop's turns, for as long as it is entered."""

    def __init__(self):
        self.now = 0

    def _next(self):
        self.now += 1
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def __enter__(self):
        self._next()
        return self

    def __exit__(self, *_):
        self._handle.cancel()


async def test_pieces_of_work_that_wait_for_the_same_event_have_a_turn_each():
    slices, event, taken = Slices(), asyncio.Event(), []

    async def work(turns):
        await event.wait()
        async with slices.one():
            taken.append(turns.now)

    with Turns() as turns:
        works = [asyncio.ensure_future(work(turns)) for _ in range(5)]
        await asyncio.sleep(0)
        event.set()
        await asyncio.gather(*works)
        async with slices.one():  # also one that comes once nobody waits
            taken.append(turns.now)
    assert len(set(taken)) == 6 and taken == sorted(taken)


async def test_who_fails_or_is_cancelled_lets_the_next_one_work():
    slices, done = Slices(), []

    async def fail():
        async with slices.one():
            raise ValueError

    async def work(name):
        async with slices.one():
            done.append(name)

    works = [asyncio.ensure_future(w) for w in (fail(), work("gone"), work("other"))]
    await asyncio.sleep(0)
    works[1].cancel()
    await asyncio.gather(*works, return_exceptions=True)
    assert done == ["other"]


class Busy:
    """A loop that notes down in which turn it begins its term, and decides."""

    kinds = ("service",)

    def __init__(self, turns, taken):
        self.turns, self.taken = turns, taken

    def reset(self, view):
        self.taken.append(self.turns.now)

    def observe(self, events):
        pass

    def plan(self, view, now):
        self.taken.append(self.turns.now)
        return []

    def refused(self, changes):
        pass

    def wake_at(self):
        return None


async def test_the_loops_of_a_term_begin_it_one_after_the_other(world):
    """Each reads everything then: all at once kept the API waiting for half a second."""
    taken = []
    with Turns() as turns:
        loops = [Busy(turns, taken) for _ in range(6)]
        running = [asyncio.ensure_future(run(b, world.store, Fence(0), time.time)) for b in loops]
        while len(taken) < 12:
            await asyncio.sleep(0)
        for task in running:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*running)
    assert len(set(taken)) == 12


def test_a_watchs_events_are_taken_in_parts_and_those_of_one_revision_together(monkeypatch):
    monkeypatch.setattr(etcd_mirror, "CHUNK", 3)
    revisions = [1, 1, 2, 3, 3, 3, 3, 3, 4, 5]
    events = [etcd.Event(kv=etcd.KeyValue(mod_revision=revision)) for revision in revisions]
    parts = [[e.kv.mod_revision for e in part] for part in etcd_mirror._parts(events)]
    assert parts == [[1, 1, 2], [3, 3, 3, 3, 3], [4, 5]]
    assert not list(etcd_mirror._parts([]))
