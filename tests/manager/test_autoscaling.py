"""Replicas by use: more at once, fewer after a while, and neither back and forth."""

from __future__ import annotations

import pytest
from world import service_spec

from swarmlite.manager.store.api import Put


class Load:
    """What all tasks of a service use together, shared equally by those that run."""

    def __init__(self, world, service_id) -> None:
        self.world, self.service_id = world, service_id
        self.cpus = 0.0

    def run(self, seconds: int) -> None:
        for _ in range(seconds // 5):
            tasks = self.world.running(self.service_id)
            for task in tasks:
                changed = type(task)()
                changed.CopyFrom(task)
                changed.usage.nano_cpus = int(self.cpus * 1e9 / len(tasks))
                changed.usage.measured_at.seconds = int(self.world.now)
                self.world.write(Put(changed))
            self.world.run(5, step=5.0)

    @property
    def replicas(self) -> int:
        return len(self.world.running(self.service_id))


@pytest.fixture
def load(world):
    """Two to eight replicas, each to use half of a processor."""
    spec = service_spec("web", replicas=2)
    spec.autoscale.min, spec.autoscale.max, spec.autoscale.cpu_percent = 2, 8, 50
    service_id = world.create_service(spec)
    world.run(1)
    return Load(world, service_id)


def test_replicas_follow_the_load_up_at_once_and_down_after_a_while(load):
    load.cpus = 1.0
    load.run(100)
    assert load.replicas == 2
    load.cpus = 3.0
    load.run(25)
    assert load.replicas == 4  # twice as many at a time
    load.run(60)
    assert load.replicas == 6
    assert "cpu 75% of 50%: 4 to 6 replicas" in service(load).autoscaling.message
    load.cpus = 1.0
    load.run(280)
    assert load.replicas == 6
    load.run(60)
    assert load.replicas == 2


def test_a_load_that_comes_and_goes_does_not_swing_the_number(load):
    """A dip shorter than five minutes ends nothing, and a tenth more makes nothing."""
    load.cpus = 3.0
    load.run(120)
    assert load.replicas == 6
    for _ in range(5):
        load.cpus = 0.5
        load.run(200)
        load.cpus = 3.2
        load.run(60)
        assert load.replicas == 6


def test_neither_bound_is_passed(load):
    load.cpus = 100.0
    load.run(300)
    assert load.replicas == 8
    load.cpus = 0.0
    load.run(700)
    assert load.replicas == 2


def test_a_new_leader_goes_on_with_the_number_and_the_wait(load):
    load.cpus = 3.0
    load.run(120)
    load.cpus = 1.0
    load.run(200)
    load.world.leader.elect()
    load.run(120)
    assert load.replicas == 2


def test_nothing_is_changed_while_nothing_is_known(load):
    load.cpus = 3.0
    load.run(120)
    load.world.run(1000)  # the readings grow old
    assert load.replicas == 6
    node_id = load.world.running(load.service_id)[0].node_id
    load.world.crash(node_id)
    load.run(100)
    assert load.replicas == 6


def test_who_scales_by_hand_sets_where_it_goes_on_from(load):
    load.cpus = 3.0
    load.run(120)
    stored = service(load)
    by_hand = type(stored)()
    by_hand.CopyFrom(stored)
    by_hand.spec.ClearField("autoscale")
    by_hand.ClearField("autoscaling")
    by_hand.spec.replicated.replicas = 3
    load.world.write(Put(by_hand))
    load.run(600)
    assert load.replicas == 3


def service(load):
    return load.world.view.services.get(load.service_id)
