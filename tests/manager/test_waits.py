"""How long the loops wait, and what ends a wait: to the second, on the simulation's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from world import START, service_spec

from swarmlite.manager.dispatcher.orphans import orphans
from swarmlite.manager.scheduler.loop import Scheduler
from swarmlite.model import defaults
from swarmlite.model.task_states import (
    ASSIGNED,
    FAILED,
    ORPHANED,
    PENDING,
    READY,
    RUNNING,
)
from swarmlite.model.units import duration
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import ClusterSpec, NodeSpec
from swarmlite.proto.types_pb2 import UpdateStatus

SECOND = 10**9


def force(world, service_id, *, away_from=""):
    """Replace its tasks, by others on other nodes than one."""

    def change(spec):
        spec.task.force_update += 1
        if away_from:
            spec.task.placement.constraints.append(f"node.id != {away_from}")

    world.update_service(service_id, change)


def newest(world, service_id):
    return max(world.tasks(service_id), key=lambda task: task.meta.created_version.index)


def test_a_successor_waits_a_minute_at_most_for_a_task_that_does_not_stop(world):
    """Its image is there and its container made; the node of the other one is stuck."""
    service_id = world.create_service(service_spec("web"))
    world.run(1)
    (old,) = world.running(service_id)
    world.agents[old.node_id].slow = True
    force(world, service_id, away_from=old.node_id)
    world.settle()
    new = newest(world, service_id)
    assert (new.desired_state, new.status.state) == (READY, READY)
    world.run(59.5, step=0.5)
    assert newest(world, service_id).desired_state == READY
    world.run(0.5)
    assert newest(world, service_id).status.state == RUNNING
    assert world.view.tasks.get(old.id).status.state == RUNNING


def test_a_successor_waits_no_longer_once_the_node_of_the_other_is_down(world):
    service_id = world.create_service(service_spec("web"))
    world.run(1)
    (old,) = world.running(service_id)
    world.agents[old.node_id].slow = True
    force(world, service_id, away_from=old.node_id)
    world.run(10)
    assert newest(world, service_id).desired_state == READY
    world.cut(old.node_id)
    world.settle()
    assert newest(world, service_id).status.state == RUNNING


@pytest.mark.parametrize("availability", [NodeSpec.ACTIVE, NodeSpec.DRAIN])
def test_a_restart_delay_is_not_for_a_node_that_drains(world, availability):
    """What ends there is replaced elsewhere at once, whatever the policy says."""
    spec = service_spec("web")
    spec.task.restart.delay.CopyFrom(duration(30 * SECOND))
    service_id = world.create_service(spec)
    world.run(1)
    (old,) = world.running(service_id)
    world.set_availability(old.node_id, availability)
    world.agents[old.node_id].kill(old.id)
    world.settle()
    assert bool(world.running(service_id)) == (availability == NodeSpec.DRAIN)


def test_attempts_are_those_of_a_slot_and_a_version_of_the_spec(world):
    """One slot's failures leave the other its own, and an update begins anew."""
    spec = service_spec("web", replicas=2)
    spec.task.restart.delay.CopyFrom(duration(SECOND))
    spec.task.restart.max_attempts = 2
    for agent in world.agents.values():
        agent.fails = lambda task: task.slot == 1
    service_id = world.create_service(spec)
    world.run(10)

    def failed(slot):
        version = world.view.services.get(service_id).spec_version.index
        tasks = (t for t in world.tasks(service_id) if t.slot == slot)
        return sum(t.status.state == FAILED and t.spec_version.index == version for t in tasks)

    assert (failed(1), failed(2), len(world.running(service_id))) == (3, 0, 1)
    (second,) = world.running(service_id)
    world.agents[second.node_id].kill(second.id)
    world.run(3)
    assert (failed(1), failed(2), len(world.running(service_id))) == (3, 1, 1)
    world.update_service(service_id, lambda s: s.task.container.env.append("A=1"))
    world.run(10)
    assert failed(1) == 3  # of the new version; those of the old one do not count
    assert world.view.services.get(service_id).update_status.state == UpdateStatus.PAUSED


def test_the_fifth_failure_within_five_minutes_sends_a_version_elsewhere(world):
    """A node comes last from then on, and an update may go there again."""
    spec = service_spec("web")
    spec.task.restart.delay.CopyFrom(duration(SECOND))
    failures = []
    bad = min(world.agents)
    world.agents[bad].fails = lambda task: failures.append(task.id) or True
    service_id = world.create_service(spec)
    world.run(20)
    assert len(failures) == 5
    (task,) = world.running(service_id)
    assert task.node_id != bad


def test_failures_further_apart_than_five_minutes_in_all_send_nothing_elsewhere(world):
    spec = service_spec("web")
    spec.task.restart.delay.CopyFrom(duration(80 * SECOND))
    failures = []
    bad = min(world.agents)
    world.agents[bad].fails = lambda task: failures.append(task.id) or True
    service_id = world.create_service(spec)
    world.run(800, step=10)
    assert len(failures) > 8
    assert not world.running(service_id)


@pytest.mark.parametrize(("monitor_s", "delay_s", "watched_s"), [(9, 4, 9), (2, 4, 5), (3, 0, 3)])
def test_after_its_last_slot_an_update_watches_on(world, monitor_s, delay_s, watched_s):
    """For the monitor's time, or the delay and a second, whichever is longer."""
    spec = service_spec("web")
    spec.update.monitor.CopyFrom(duration(monitor_s * SECOND))
    spec.update.delay.CopyFrom(duration(delay_s * SECOND))
    service_id = world.create_service(spec)
    world.run(1)
    force(world, service_id)
    world.settle()
    assert world.running(service_id)[0].spec.force_update == 1

    def state():
        return world.view.services.get(service_id).update_status.state

    world.run(watched_s - 0.5, step=0.5)
    assert state() == UpdateStatus.UPDATING
    world.run(0.5)
    assert state() == UpdateStatus.COMPLETED


def test_a_task_of_a_node_that_is_down_is_orphaned_after_a_day_and_not_before(world):
    service_id = world.create_service(service_spec("web"))
    world.run(1)
    (lost,) = world.running(service_id)
    began = datetime.fromtimestamp(START, UTC)
    world.cut(lost.node_id)
    world.change_node(lost.node_id, lambda node: node.status.since.FromDatetime(began))
    world.settle()
    day = timedelta(hours=24)
    assert orphans(world.view, began + day, "manager") == []
    (change,) = orphans(world.view, began + day + timedelta(seconds=1), "manager")
    assert (change.obj.id, change.obj.status.state) == (lost.id, ORPHANED)
    assert change.obj.desired_state > RUNNING  # replaced when its node went down


def test_the_scheduler_places_what_came_together_and_waits_for_no_more(world):
    """One plan takes all that is there, a group a service and version, at the moment it is there.

    Where others wait, for 50 ms and a second at most, what comes while this plan is written is the
    next one's group.
    """
    spec = service_spec("web", replicas=6)
    first, second = world.create_service(spec), world.create_service(service_spec("db", replicas=4))
    world.leader.turn([0])
    assert {task.status.state for task in world.view.tasks} == {PENDING}
    scheduler = Scheduler()
    scheduler.reset(world.view)
    placed = scheduler.plan(world.view, world.now)
    assert [change.obj.status.state for change in placed] == [ASSIGNED] * 10
    assert [change.obj.service_id for change in placed] == [first] * 6 + [second] * 4
    assert scheduler.wake_at() is None  # nothing is left for a later time


def test_ended_tasks_are_kept_five_a_slot_where_nobody_says_otherwise():
    assert defaults.fill_cluster(ClusterSpec()).orchestration.task_history_retention_limit == 5


def test_the_defaults_of_policies_are_swarms():
    """Delays in seconds, parallelism and ratio: what a service that says nothing is given."""
    filled = defaults.fill_service(Service().spec)
    update, rollback, restart = filled.update, filled.rollback, filled.task.restart
    for config in (update, rollback):
        assert (config.parallelism, config.max_failure_ratio, config.order) == (1, 0, 0)
        assert (config.delay.ToSeconds(), config.monitor.ToSeconds()) == (0, 5)
    assert (restart.delay.ToSeconds(), restart.window.ToSeconds()) == (5, 0)
    assert restart.max_attempts == 0
    assert filled.task.container.stop_grace_period.ToSeconds() == 10
