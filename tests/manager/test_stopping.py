"""Services that are stopped and started, rebalanced, or restarted ever later."""

from __future__ import annotations

from collections import Counter

from world import service_spec

from swarmlite.manager.orchestrator.rebalancing import surplus
from swarmlite.model.task_states import FAILED
from swarmlite.model.units import duration
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import UpdateStatus


def counts(world, service_id):
    return Counter(t.node_id for t in world.running(service_id))


def test_a_stopped_service_runs_nothing_and_starts_with_as_many_as_before(world):
    for replicas in (4, None):
        service_id = world.create_service(service_spec(f"s{replicas}", replicas=replicas))
        world.settle()
        running = len(world.running(service_id))
        world.stop(service_id)
        world.run(5)
        assert world.running(service_id) == []
        assert world.tasks(service_id), "what ended is kept"
        world.update_service(service_id, lambda s: setattr(s.task.container, "image", "web:2"))
        world.add_node()
        world.run(5)
        assert world.running(service_id) == []
        world.stop(service_id, False)
        world.run(5)
        assert len(world.running(service_id)) == running + (replicas is None)
        assert {t.spec.container.image for t in world.running(service_id)} == {"web:2"}


def test_a_rollback_of_a_stopped_service_comes_to_its_end(world):
    service_id = world.create_service(service_spec("web"))
    world.settle()
    world.stop(service_id)
    world.update_service(service_id, lambda s: setattr(s.task.container, "image", "web:2"))
    world.roll_back(service_id)
    world.run(30)
    status = world.view.services.get(service_id).update_status
    assert status.state == UpdateStatus.ROLLBACK_COMPLETED


def test_rebalancing_moves_only_what_is_too_much_and_one_task_at_a_time(world):
    service_id = world.create_service(service_spec("web", replicas=6))
    world.settle()
    before = {t.id for t in world.running(service_id)}
    joined = world.add_node()
    world.settle()
    assert counts(world, service_id)[joined] == 0
    lowest = 6

    def watch():
        nonlocal lowest
        lowest = min(lowest, len(world.running(service_id)))

    world.on_commit.append(watch)
    world.rebalance(service_id)
    world.run(30)
    assert sorted(counts(world, service_id).values()) == [1, 1, 2, 2]
    assert len(before & {t.id for t in world.running(service_id)}) == 5
    assert lowest == 5
    assert not world.view.services.get(service_id).HasField("rebalance")


def test_rebalancing_ends_where_the_emptier_node_takes_nothing(world):
    small = world.add_node(memory=1)
    spec = service_spec("web", replicas=6)
    spec.task.resources.reservations.memory_bytes = 1 << 20
    service_id = world.create_service(spec)
    world.settle()
    world.rebalance(service_id)
    world.run(60)
    assert small not in counts(world, service_id)
    assert len(world.running(service_id)) == 6
    assert not world.view.services.get(service_id).HasField("rebalance")
    # The tasks that fit on three nodes only were moved as often as would have filled the fourth.
    assert sum(t.desired_state > 512 for t in world.tasks(service_id)) <= 1


def test_rebalancing_leaves_drained_nodes_and_a_balanced_service_alone(world):
    service_id = world.create_service(service_spec("web", replicas=3))
    world.set_availability(world.add_node(), NodeSpec.DRAIN)
    world.settle()
    before = {t.id for t in world.running(service_id)}
    world.rebalance(service_id)
    world.run(10)
    assert {t.id for t in world.running(service_id)} == before


def test_how_many_tasks_are_too_much_on_their_nodes():
    assert surplus([]) == 0
    assert surplus([2, 2, 2, 0]) == 1
    assert surplus([6, 0, 0]) == 4
    assert surplus([1, 1, 2]) == 0


def failing(world, backoff):
    spec = service_spec("web", "crash:1")
    spec.task.restart.delay.CopyFrom(duration(10**9))
    spec.task.restart.max_delay.CopyFrom(duration(60 * 10**9))
    spec.task.restart.backoff = backoff
    return world.create_service(spec)


def attempts(world, service_id):
    return max(t.failures for t in world.tasks(service_id))


def test_with_a_back_off_each_failure_in_a_row_makes_the_delay_longer(world):
    growing, steady = failing(world, 2), None
    world.run(40)
    # 1 + 2 + 4 + 8 + 16 seconds of delays are 31.
    assert attempts(world, growing) in (5, 6)
    steady = world.create_service(service_spec("steady", "crash:1"))
    world.update_service(steady, lambda s: s.task.restart.delay.CopyFrom(duration(10**9)))
    world.run(20)
    assert attempts(world, steady) > 10


def test_a_task_that_ran_for_longer_than_the_longest_delay_starts_from_the_first(world):
    service_id = failing(world, 2)
    world.run(20)
    assert attempts(world, service_id) >= 4
    for agent in world.agents.values():
        agent.fails = lambda task: False
    world.run(100)
    [task] = world.running(service_id)
    for agent in world.agents.values():
        agent.kill(task.id, FAILED)
    world.run(5)
    [task] = world.running(service_id)
    assert task.failures == 1
