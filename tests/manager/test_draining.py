"""Nodes that are drained, join, or are packed: which tasks go where, and in which order."""

from __future__ import annotations

import pytest
from world import copy_of, service_spec

from swarmlite.manager.store.api import Put
from swarmlite.model.task_states import FAILED
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import Placement, UpdateConfig


def drain(world, node_id, deadline_s=60):
    def change(node):
        node.spec.availability = NodeSpec.DRAIN
        node.drain_by.seconds = int(world.now + deadline_s)

    world.change_node(node_id, change)


@pytest.fixture
def web(world):
    """Three replicas, one a node, whose tasks are replaced first or last."""

    def make(order=UpdateConfig.START_FIRST):
        spec = service_spec("web", replicas=3)
        spec.update.parallelism, spec.update.order = 1, order
        service_id = world.create_service(spec)
        world.run(1)
        return service_id

    return make


def on(world, service_id, node_id):
    return [t for t in world.running(service_id) if t.node_id == node_id]


def test_a_drain_ends_a_task_of_a_start_first_service_after_its_successor_runs(world, web):
    """At every step as many tasks run as are desired."""
    service_id = web()
    first = sorted(world.agents)[0]
    drain(world, first)
    fewest = 3
    for _ in range(200):
        world.leader.turn()
        for agent in world.agents.values():
            agent.turn()
        fewest = min(fewest, len(world.running(service_id)))
    assert fewest == 3
    assert not on(world, service_id, first)
    assert len(world.running(service_id)) == 3
    status = world.view.services.get(service_id).update_status
    assert status.state == status.UNKNOWN  # nothing was updated


def test_a_drain_stops_a_task_of_a_stop_first_service_first(world, web):
    service_id = web(UpdateConfig.STOP_FIRST)
    first = sorted(world.agents)[0]
    drain(world, first, deadline_s=10_000)
    world.settle()
    assert not on(world, service_id, first)
    assert len(world.running(service_id)) == 3


@pytest.mark.parametrize("leader", ["same", "new"])
def test_a_drain_waits_for_a_successor_that_no_node_takes_until_the_deadline(world, web, leader):
    service_id = web()
    first, *others = sorted(world.agents)
    for node_id in others:
        world.set_availability(node_id, NodeSpec.PAUSE)
    drain(world, first, deadline_s=30)
    world.run(29)
    [task] = on(world, service_id, first)
    if leader == "new":
        world.leader.elect()
        world.settle()
    assert task in on(world, service_id, first)
    world.run(2)
    assert not on(world, service_id, first)
    world.set_availability(others[0], NodeSpec.ACTIVE)
    world.run(2)
    assert len(world.running(service_id)) == 3


def test_a_successor_that_fails_is_tried_again_after_the_delay_while_the_task_runs_on(world, web):
    service_id = web()
    first = sorted(world.agents)[0]
    sound = next(agent.fails for agent in world.agents.values())
    for agent in world.agents.values():
        agent.fails = lambda task: True
    drain(world, first, deadline_s=1000)
    world.run(12)
    failed = [t for t in world.tasks(service_id) if t.status.state == FAILED]
    assert 2 <= len(failed) <= 4  # one at once, and one each five seconds
    for agent in world.agents.values():
        agent.fails = sound
    assert on(world, service_id, first)
    world.run(10)
    assert not on(world, service_id, first)
    assert len(world.running(service_id)) == 3


def test_a_node_that_is_taken_back_keeps_one_task_a_slot(world, web):
    service_id = web()
    first = sorted(world.agents)[0]
    drain(world, first)
    world.leader.turn()
    world.set_availability(first, NodeSpec.ACTIVE)
    world.run(5)
    assert sorted(t.slot for t in world.running(service_id)) == [1, 2, 3]


def test_a_node_that_dies_while_it_is_drained_is_replaced_at_once(world, web):
    service_id = web()
    first = sorted(world.agents)[0]
    drain(world, first, deadline_s=1000)
    world.leader.turn()
    world.crash(first)
    world.run(5)
    assert len(world.running(service_id)) == 3
    assert not on(world, service_id, first)


# joining
def counts(world, service_id):
    return sorted(
        sum(t.node_id == node_id for t in world.running(service_id)) for node_id in world.agents
    )


def test_a_node_that_joins_is_given_its_part_where_the_service_says_so(world):
    ids = {}
    for name, moves in (("moves", True), ("stays", False)):
        spec = service_spec(name, replicas=8)
        spec.rebalance_on_join = moves
        ids[name] = world.create_service(spec)
    world.run(1)
    assert counts(world, ids["moves"]) == [2, 3, 3]
    world.add_node()
    world.run(20)
    assert counts(world, ids["moves"]) == [2, 2, 2, 2]
    assert counts(world, ids["stays"])[0] == 0


def test_a_node_that_joins_as_the_leader_changes_is_given_its_part(world):
    """The new leader cannot know that it has just joined; nor is it lost when a write conflicts."""
    spec = service_spec("web", replicas=6)
    spec.rebalance_on_join = True
    service_id = world.create_service(spec)
    world.run(1)
    world.add_node()
    world.leader.elect()
    world.run(20)
    assert counts(world, service_id) == [1, 1, 2, 2]

    def interfere(changes):
        world.leader.interfere = None
        world.write(Put(copy_of(world.view.services.get(service_id))))

    world.add_node()
    world.leader.interfere = interfere
    world.run(20)
    assert counts(world, service_id) == [1, 1, 1, 1, 2]


def test_a_node_that_comes_back_is_given_its_part_too(world):
    spec = service_spec("web", replicas=6)
    spec.rebalance_on_join = True
    service_id = world.create_service(spec)
    world.run(1)
    first = sorted(world.agents)[0]
    world.set_availability(first, NodeSpec.DRAIN)
    world.run(5)
    assert counts(world, service_id) == [0, 3, 3]
    world.set_availability(first, NodeSpec.ACTIVE)
    world.run(20)
    assert counts(world, service_id) == [2, 2, 2]


# packing
def test_binpack_fills_one_node_after_the_other(world):
    spec = service_spec("packed", replicas=5)
    spec.task.placement.strategy = Placement.BINPACK
    spec.task.resources.reservations.memory_bytes = 400 << 20  # two a node
    service_id = world.create_service(spec)
    world.run(1)
    assert counts(world, service_id) == [1, 2, 2]


def test_binpack_goes_to_the_fullest_node_of_other_services_too(world):
    spec = service_spec("big", replicas=1)
    spec.task.resources.reservations.memory_bytes = 300 << 20
    big = world.create_service(spec)
    world.run(1)
    [task] = world.running(big)
    for number in range(3):
        spec = service_spec(f"small{number}", replicas=1)
        spec.task.placement.strategy = Placement.BINPACK
        spec.task.resources.reservations.memory_bytes = 100 << 20
        small = world.create_service(spec)
        world.run(1)
        assert [t.node_id for t in world.running(small)] == [task.node_id]
