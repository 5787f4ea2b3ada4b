"""Clocks step and differ: delays last as long as they should, and order is not taken from them."""

from __future__ import annotations

import pytest
from world import service_spec

from swarmlite.manager.scheduler.nodes import FAILURES_TO_AVOID, NodeInfo
from swarmlite.manager.times import Past, order
from swarmlite.model.task_states import FAILED, RUNNING, SHUTDOWN
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import UpdateConfig, UpdateStatus

HOUR = 3600.0


def in_place(world, service_id):
    return [t for t in world.running(service_id) if t.desired_state == RUNNING]


def fail(world, service_id):
    (task,) = world.running(service_id)
    for agent in world.agents.values():
        agent.containers.pop(task.id, None)
    world.report(task.id, FAILED, "exit 1")


@pytest.mark.parametrize("when", ["before", "after", "leader"])
def test_a_successor_starts_in_time_though_the_clock_steps_back(world, when):
    service_id = world.create_service(service_spec("web"))
    world.run(10)
    for _ in range(3):
        if when == "before":
            world.now -= HOUR
        fail(world, service_id)
        world.run(2)
        assert not in_place(world, service_id), "the delay is kept"
        if when != "before":
            world.now -= HOUR
        if when == "leader":
            world.leader.elect()
        world.run(10)
        assert len(in_place(world, service_id)) == 1
        (newest,) = in_place(world, service_id)
        assert newest is max(world.tasks(service_id), key=order)


def test_an_update_goes_on_though_the_clock_steps_back(world):
    spec = service_spec("web", replicas=4)
    spec.update.parallelism = 1
    spec.update.delay.FromSeconds(2)
    spec.update.monitor.FromSeconds(2)
    service_id = world.create_service(spec)
    world.run(10)
    world.update_service(service_id, lambda s: setattr(s.task.container, "image", "web:2"))
    for _ in range(4):
        world.run(4)
        world.now -= HOUR
    world.run(40)
    service = world.view.services.get(service_id)
    assert service.update_status.state == UpdateStatus.COMPLETED
    assert {t.spec.container.image for t in in_place(world, service_id)} == {"web:2"}


def test_a_step_forward_makes_nothing_restart(world):
    service_id = world.create_service(service_spec("web", replicas=3))
    world.run(10)
    before = {t.id for t in in_place(world, service_id)}
    world.now += HOUR
    world.leader.elect()
    world.run(10)
    assert {t.id for t in in_place(world, service_id)} == before


def test_of_two_tasks_the_one_written_last_is_the_newest_whatever_the_clock_says(world):
    """A start-first update: the outdated one, which has the later time, is the one to stop."""
    spec = service_spec("web")
    spec.update.order = UpdateConfig.START_FIRST
    service_id = world.create_service(spec)
    world.run(10)
    (old,) = in_place(world, service_id)
    world.now -= HOUR
    world.update_service(service_id, lambda s: setattr(s.task.container, "image", "web:2"))
    world.run(20)
    (new,) = in_place(world, service_id)
    assert order(new) > order(old)
    assert new.meta.created_at.seconds < old.meta.created_at.seconds
    assert world.view.tasks.get(old.id).desired_state == SHUTDOWN


def test_a_time_ahead_counts_as_the_moment_it_was_met():
    past = Past(100.0)
    assert past(90.0) == 90.0
    assert past(500.0) == 100.0
    past.at(130.0)
    assert past(500.0) == 100.0 and past(120.0) == 120.0
    past.at(50.0)
    assert past(500.0) == 50.0 and past(120.0) == 50.0
    past.at(600.0)
    assert past(500.0) == 500.0


def test_failures_ahead_of_now_are_forgotten_in_time():
    info, group = NodeInfo(Node(id="n"), 0), ("svc", 1)
    info.failures[group].extend([10_000.0] * FAILURES_TO_AVOID)
    assert info.fails(group, 6000.0)
    assert not info.fails(group, 6301.0)
