from __future__ import annotations

import pytest
from world import service_spec

from swarmlite.manager.store.api import Put
from swarmlite.model.task_states import RUNNING
from swarmlite.model.units import duration
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import UpdateConfig, UpdateStatus


@pytest.fixture
def web(world):
    """Four replicas, updated one at a time and watched for two seconds."""

    def make(**options):
        spec = service_spec("web", replicas=4)
        for config in (spec.update, spec.rollback):
            config.parallelism = options.get("parallelism", 1)
            config.order = options.get("order", UpdateConfig.STOP_FIRST)
            config.delay.CopyFrom(duration(options.get("delay_s", 0) * 10**9))
            config.monitor.CopyFrom(duration(2 * 10**9))
        spec.update.failure_action = options.get("action", UpdateConfig.PAUSE)
        spec.update.max_failure_ratio = options.get("ratio", 0.0)
        if "deadline_s" in options:
            spec.update.progress_deadline.CopyFrom(duration(options["deadline_s"] * 10**9))
        service_id = world.create_service(spec)
        world.run(1)
        return service_id

    return make


def update(world, service_id, image):
    world.update_service(service_id, lambda s: setattr(s.task.container, "image", image))


def images(world, service_id):
    return sorted(t.spec.container.image for t in world.running(service_id))


def status(world, service_id):
    return world.view.services.get(service_id).update_status


def test_an_update_goes_one_by_one_with_its_delay(world, web):
    service_id = web(delay_s=2)
    update(world, service_id, "web:2")
    world.settle()
    assert images(world, service_id) == ["web:1"] * 3 + ["web:2"]
    world.run(2)
    assert images(world, service_id) == ["web:1"] * 2 + ["web:2"] * 2
    world.run(20)
    assert images(world, service_id) == ["web:2"] * 4
    assert status(world, service_id).state == UpdateStatus.COMPLETED


def test_parallelism_0_replaces_all_at_once(world, web):
    service_id = web(parallelism=0, delay_s=60)
    update(world, service_id, "web:2")
    world.settle()
    assert images(world, service_id) == ["web:2"] * 4


def test_a_new_leader_goes_on_with_the_update_where_it_was(world, web):
    """It neither replaces what is new already nor starts more at once."""
    service_id = web(delay_s=3)
    update(world, service_id, "web:2")
    world.run(4)
    new = {t.id for t in world.running(service_id) if t.spec.container.image == "web:2"}
    assert len(new) == 2
    world.leader.elect()
    world.settle()
    assert {t.id for t in world.running(service_id) if t.spec.container.image == "web:2"} == new
    world.run(20)
    assert status(world, service_id).state == UpdateStatus.COMPLETED
    assert new <= {t.id for t in world.running(service_id)}


def test_start_first_keeps_every_replica_until_its_successor_runs(world, web):
    service_id = web(order=UpdateConfig.START_FIRST)
    update(world, service_id, "web:2")
    for _ in range(60):
        world.leader.turn()
        for agent in world.agents.values():
            agent.turn()
        assert len(world.running(service_id)) >= 4
    world.run(20)
    assert images(world, service_id) == ["web:2"] * 4


def test_a_crashing_image_pauses_the_update_and_the_other_replicas_stay(world, web):
    service_id = web()
    update(world, service_id, "crash:1")
    world.run(30)
    assert status(world, service_id).state == UpdateStatus.PAUSED
    assert "early termination of task" in status(world, service_id).message
    assert images(world, service_id) == ["web:1"] * 3
    world.leader.elect()
    world.run(30)
    assert status(world, service_id).state == UpdateStatus.PAUSED
    assert images(world, service_id) == ["web:1"] * 3


def test_a_crashing_image_started_first_costs_no_replica(world, web):
    service_id = web(order=UpdateConfig.START_FIRST)
    update(world, service_id, "crash:1")
    world.run(60)
    assert status(world, service_id).state == UpdateStatus.PAUSED
    assert images(world, service_id) == ["web:1"] * 4


def test_a_crashing_image_is_rolled_back_and_the_replicas_keep_their_number(world, web):
    service_id = web(action=UpdateConfig.ROLLBACK)
    before = {t.id for t in world.running(service_id)}
    update(world, service_id, "crash:1")
    world.run(40)
    assert status(world, service_id).state == UpdateStatus.ROLLBACK_COMPLETED
    assert images(world, service_id) == ["web:1"] * 4
    assert len(before & {t.id for t in world.running(service_id)}) == 3


def test_a_rollback_is_never_rolled_back(world, web):
    service_id = web(action=UpdateConfig.ROLLBACK)
    update(world, service_id, "web:2")
    world.run(20)
    for agent in world.agents.values():
        agent.fails = lambda task: True
    world.roll_back(service_id)
    world.run(30)
    assert status(world, service_id).state == UpdateStatus.ROLLBACK_PAUSED


def test_the_failure_ratio_is_over_the_slots_being_changed(world, web):
    """One place of four may fail with a ratio of a quarter."""
    service_id = web(ratio=0.25)
    for agent in world.agents.values():
        agent.fails = lambda task: task.slot == 1 and task.spec.container.image == "web:2"
    update(world, service_id, "web:2")
    world.run(3)
    world.run(30)
    assert status(world, service_id).state == UpdateStatus.COMPLETED
    assert images(world, service_id) == ["web:2"] * 3


def test_a_new_update_cancels_the_running_one(world, web):
    service_id = web(delay_s=5)
    update(world, service_id, "web:2")
    world.run(1)
    update(world, service_id, "web:3")
    world.run(60)
    assert images(world, service_id) == ["web:3"] * 4


def test_a_task_that_does_not_start_by_the_deadline_is_a_failure(world, web):
    service_id = web(deadline_s=10)
    update(world, service_id, "web:2")
    for agent in world.agents.values():
        agent.slow = True
    world.run(5)
    assert status(world, service_id).state == UpdateStatus.UPDATING
    world.run(10)
    assert status(world, service_id).state == UpdateStatus.PAUSED


def test_a_change_that_concerns_no_task_replaces_none(world, web):
    service_id = web()
    before = {t.id for t in world.running(service_id)}
    world.update_service(service_id, lambda s: s.annotations.labels.update({"team": "a"}))
    world.run(5)
    assert {t.id for t in world.running(service_id)} == before
    assert status(world, service_id).state == UpdateStatus.UNKNOWN


def test_a_task_that_ends_by_itself_during_an_update_keeps_its_place(world, web):
    service_id = web(delay_s=5)
    update(world, service_id, "web:2")
    world.run(1)
    old = next(t for t in world.running(service_id) if t.spec.container.image == "web:1")
    world.agents[old.node_id].kill(old.id)
    world.run(60)
    assert [t.slot for t in world.running(service_id)] == [1, 2, 3, 4]
    assert all(t.status.state == RUNNING for t in world.running(service_id))


def test_a_successor_that_runs_when_its_update_is_over_still_ends_the_old_task(world, web):
    """Found by the simulation: a change that replaces nothing ends the update too early for it."""
    service_id = web(order=UpdateConfig.START_FIRST, parallelism=0)
    for agent in world.agents.values():
        agent.slow = True
    update(world, service_id, "web:2")
    world.settle()
    world.update_service(service_id, lambda s: s.annotations.labels.update({"team": "a"}))
    world.run(5)
    assert status(world, service_id).state == UpdateStatus.UNKNOWN
    for agent in world.agents.values():
        agent.slow = False
    world.run(30)
    assert images(world, service_id) == ["web:2"] * 4


def needing(bytes_):
    """A change of the spec that reserves memory; the world's nodes have what add_node gave them."""

    def change(spec):
        spec.task.container.image = "web:2"
        spec.task.resources.reservations.memory_bytes = bytes_

    return change


def with_memory(world, amounts):
    for node, amount in zip(list(world.view.nodes), amounts, strict=True):

        def change(n, amount=amount):
            n.description.resources.memory_bytes = amount
            n.description.resources.nano_cpus = 8 * 10**9

        world.change_node(node.id, change)


def test_an_update_goes_on_past_slots_that_cannot_be_placed_and_names_them(world, web):
    service_id = web()
    with_memory(world, [100, 100, 10])
    world.update_service(service_id, needing(100))
    world.run(60)
    assert status(world, service_id).state == UpdateStatus.UPDATING
    assert images(world, service_id) == ["web:2"] * 2
    waiting = [t for t in world.tasks(service_id) if t.status.err and t.desired_state <= RUNNING]
    assert len(waiting) == 2
    names = ", ".join(f"web.{t.slot}" for t in waiting)
    assert f"waiting for a node: {names}: no suitable node" in status(world, service_id).message
    with_memory(world, [200, 200, 10])
    world.run(60)
    assert images(world, service_id) == ["web:2"] * 4
    assert status(world, service_id).state == UpdateStatus.COMPLETED
    assert status(world, service_id).message == "update completed"


def test_an_update_that_no_node_takes_stops_one_task_and_says_so(world, web):
    """Going on would take the service down."""
    service_id = web()
    with_memory(world, [10, 10, 10])
    world.update_service(service_id, needing(100))
    world.run(60)
    assert images(world, service_id) == ["web:1"] * 3
    assert "waiting for a node: web." in status(world, service_id).message
    world.update_service(service_id, needing(5))
    world.run(60)
    assert images(world, service_id) == ["web:2"] * 4
    assert status(world, service_id).state == UpdateStatus.COMPLETED


def test_a_slot_that_waited_before_the_update_does_not_hold_it_up(world):
    spec = service_spec("web", replicas=4)
    spec.task.resources.reservations.memory_bytes = 100
    spec.update.parallelism = 1
    spec.update.monitor.FromSeconds(2)
    with_memory(world, [100, 100, 100])
    service_id = world.create_service(spec)
    world.run(5)
    assert len(world.running(service_id)) == 3
    update(world, service_id, "web:2")
    world.run(60)
    assert images(world, service_id) == ["web:2"] * 3
    assert "waiting for a node: web." in status(world, service_id).message


def test_start_first_with_a_node_drained_replaces_where_there_is_room_and_names_the_rest(world):
    spec = service_spec("web", replicas=3)
    spec.task.placement.max_replicas = 2
    spec.update.parallelism = 1
    spec.update.order = UpdateConfig.START_FIRST
    spec.update.monitor.FromSeconds(2)
    service_id = world.create_service(spec)
    world.run(5)
    world.set_availability(next(iter(world.view.nodes)).id, NodeSpec.DRAIN)
    world.run(20)
    assert len(world.running(service_id)) == 3
    update(world, service_id, "web:2")
    world.run(60)
    assert images(world, service_id) == ["web:2"] * 3


def test_start_first_without_room_keeps_what_runs_and_names_every_slot(world):
    spec = service_spec("web", replicas=3)
    spec.task.placement.max_replicas = 1
    spec.update.parallelism = 1
    spec.update.order = UpdateConfig.START_FIRST
    service_id = world.create_service(spec)
    world.run(5)
    update(world, service_id, "web:2")
    world.run(60)
    assert images(world, service_id) == ["web:1"] * 3
    message = status(world, service_id).message
    assert "waiting for a node: web.1, web.2, web.3: no suitable node" in message


# canaries
@pytest.fixture
def canary(world, web):
    """`web`, two of whose replicas are updated before the others."""

    def make(by_hand=False, **options):
        service_id = web(parallelism=0, **options)

        def change(spec):
            spec.update.canary, spec.update.canary_by_hand = 2, by_hand
            spec.task.container.image = "web:2"

        world.update_service(service_id, change)
        world.settle()
        return service_id

    return make


def test_canaries_are_updated_first_and_the_rest_once_they_were_watched(world, canary):
    service_id = canary()
    assert images(world, service_id) == ["web:1"] * 2 + ["web:2"] * 2
    assert "canary: 2 of 4 replicas updated" in status(world, service_id).message
    world.run(5)
    assert images(world, service_id) == ["web:2"] * 4
    world.run(5)
    assert status(world, service_id).state == UpdateStatus.COMPLETED
    assert status(world, service_id).message == "update completed"


def test_canaries_by_hand_wait_for_their_promotion_under_a_new_leader_too(world, canary):
    service_id = canary(by_hand=True)
    world.run(100)
    world.leader.elect()
    world.run(100)
    assert images(world, service_id) == ["web:1"] * 2 + ["web:2"] * 2
    assert "the rest waits for `service promote`" in status(world, service_id).message
    service = world.view.services.get(service_id)
    promoted = type(service)()
    promoted.CopyFrom(service)
    promoted.update_status.promoted = True
    world.write(Put(promoted))
    world.run(10)
    assert images(world, service_id) == ["web:2"] * 4
    assert status(world, service_id).state == UpdateStatus.COMPLETED


@pytest.mark.parametrize("order", [UpdateConfig.STOP_FIRST, UpdateConfig.START_FIRST])
def test_a_canary_that_fails_counts_among_the_canaries_and_takes_the_update_back(
    world, canary, order
):
    """A third of the canaries may fail, one of the two is more; of all four it would be less."""
    service_id = canary(order=order, action=UpdateConfig.ROLLBACK, ratio=0.3)
    [victim, _] = [t for t in world.running(service_id) if t.spec.container.image == "web:2"]
    world.agents[victim.node_id].kill(victim.id)
    world.run(20)
    assert images(world, service_id) == ["web:1"] * 4
    assert status(world, service_id).state == UpdateStatus.ROLLBACK_COMPLETED


def test_a_newer_update_begins_with_canaries_again(world, canary):
    service_id = canary()
    world.run(3)
    update(world, service_id, "web:3")
    world.settle()
    assert images(world, service_id).count("web:3") == 2
