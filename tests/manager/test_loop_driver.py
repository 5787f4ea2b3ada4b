from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from world import World, service_spec

from swarmlite.manager.loop import run
from swarmlite.manager.loops import leader_loops
from swarmlite.manager.store.api import Fence, Fenced
from swarmlite.model.task_states import RUNNING
from swarmlite.model.units import duration


@asynccontextmanager
async def leading(world, epoch=0):
    """The real driver over the store in memory, with the real clock."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(run(loop, world.store, Fence(epoch), time.time))
            for loop in leader_loops()
        ]
        yield
        for task in tasks:
            task.cancel()


async def agents_until(world, done, timeout_s=10.0):
    async with asyncio.timeout(timeout_s):
        while not done():
            for agent in world.agents.values():
                agent.turn()
            await asyncio.sleep(0.001)


@pytest.fixture
def live_world():
    world = World()
    world.store._now = lambda: datetime.now(UTC)
    for _ in range(3):
        world.add_node()
    return world


async def test_a_service_runs_soon_after_it_was_created(live_world):
    world = live_world
    async with leading(world):
        service_id = world.create_service(service_spec("web", replicas=20))
        await agents_until(world, lambda: len(world.running(service_id)) == 20)


async def test_a_crashed_task_without_a_delay_is_back_within_50_ms_of_decisions(live_world):
    """The loops wait for nothing: what remains is the container's own start."""
    world = live_world
    spec = service_spec("web")
    spec.task.restart.delay.CopyFrom(duration(0))
    async with leading(world):
        service_id = world.create_service(spec)
        await agents_until(world, lambda: len(world.running(service_id)) == 1)
        times = []
        for _ in range(5):
            (old,) = world.running(service_id)
            began = time.perf_counter()
            world.agents[old.node_id].kill(old.id)
            await agents_until(
                world, lambda old=old: [t for t in world.running(service_id) if t.id != old.id]
            )
            times.append(time.perf_counter() - began)
        assert sorted(times)[2] < 0.05


async def test_a_leader_whose_epoch_has_passed_takes_its_loops_down(live_world):
    world = live_world
    with pytest.raises(BaseExceptionGroup) as caught:
        async with leading(world):
            world.store.epoch = 7
            world.create_service(service_spec("web"))
            await asyncio.sleep(5)
    assert caught.value.subgroup(Fenced)


async def test_cancelling_the_loops_leaves_a_store_that_the_next_leader_takes_up(live_world):
    world = live_world
    service_id = world.create_service(service_spec("web", replicas=300))
    async with leading(world):
        await asyncio.sleep(0.01)
    async with leading(world):
        await agents_until(world, lambda: len(world.running(service_id)) == 300)
    assert [t.slot for t in world.running(service_id)] == list(range(1, 301))


async def test_events_that_were_lost_are_made_up_for(live_world):
    world = live_world
    async with leading(world):
        for number in range(5):
            world.create_service(service_spec(f"s{number}"))
            world.store.resync()
            await asyncio.sleep(0)
        await agents_until(
            world, lambda: sum(t.status.state == RUNNING for t in world.view.tasks) == 5
        )


class Failing:
    """A loop that fails at first, as by a bug that one object brings out."""

    kinds = ("service",)

    def __init__(self, failures):
        self.failures = failures
        self.resets = 0

    def reset(self, view):
        self.resets += 1

    def observe(self, events):
        pass

    def plan(self, view, now):
        if self.failures:
            self.failures -= 1
            raise ValueError("what nobody foresaw")
        return []

    def refused(self, changes):
        pass

    def wake_at(self):
        return None


async def test_a_loop_that_fails_starts_over_and_the_others_go_on(live_world, monkeypatch):
    monkeypatch.setattr("swarmlite.manager.loop.FIRST_DELAY_S", 0.01)
    world, loop = live_world, Failing(3)
    failing = asyncio.ensure_future(run(loop, world.store, Fence(0), time.time))
    async with leading(world):
        world.create_service(service_spec("web", replicas=2))
        await agents_until(world, lambda: running_tasks(world) == 2 and loop.resets == 4)
    failing.cancel()
    await asyncio.gather(failing, return_exceptions=True)


async def test_a_service_that_breaks_a_rule_is_passed_over(live_world, monkeypatch, caplog):
    from swarmlite.manager import isolation
    from swarmlite.manager.orchestrator import loop as orchestrator

    monkeypatch.setattr(isolation.log, "exception", isolation.log.error)
    reconcile = orchestrator.RECONCILE["replicated"]

    def fail_for_one(turn):
        if turn.service.spec.annotations.name == "bad":
            raise ValueError("what nobody foresaw")
        reconcile(turn)

    monkeypatch.setitem(orchestrator.RECONCILE, "replicated", fail_for_one)
    world = live_world
    async with leading(world):
        world.create_service(service_spec("bad", replicas=1))
        world.create_service(service_spec("good", replicas=2))
        await agents_until(world, lambda: running_tasks(world) == 2)
    assert "passed over service=" in caplog.text


def running_tasks(world):
    return sum(t.status.state == RUNNING for t in world.view.tasks)
