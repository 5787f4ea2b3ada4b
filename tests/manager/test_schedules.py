"""Jobs that run by a schedule."""

from __future__ import annotations

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.model import schedule
from swarmlite.model.task_states import COMPLETE
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import RestartPolicy


def cron(text="* * * * *", image="job:1", replicas=1):
    spec = ServiceSpec(schedule=text)
    spec.annotations.name = "backup"
    spec.task.container.image = image
    spec.task.restart.condition = RestartPolicy.NONE
    spec.replicated_job.total_completions = replicas
    spec.replicated_job.max_concurrent = replicas
    return spec


def iteration(world, service_id):
    return world.view.services.get(service_id).job_status.job_iteration


def test_a_job_runs_when_its_schedule_says_and_not_before(world):
    world.now += 60 - world.now % 60 + 1  # a second after a full minute
    service_id = world.create_service(cron(replicas=2))
    world.run(50)
    assert world.tasks(service_id) == []
    world.run(20)
    assert iteration(world, service_id) == 1
    assert [t.status.state for t in world.tasks(service_id)] == [COMPLETE] * 2
    world.run(180)
    assert iteration(world, service_id) == 4


def test_a_run_that_is_due_while_the_last_goes_on_begins_at_its_end(world):
    service_id = world.create_service(cron(image="long"))
    world.run(200)
    assert iteration(world, service_id) == 1
    [task] = world.running(service_id)
    for agent in world.agents.values():
        agent.kill(task.id, COMPLETE)
    world.run(5)
    assert iteration(world, service_id) == 2


def test_of_what_was_missed_without_a_leader_one_run_is_made_good(world):
    service_id = world.create_service(cron())
    world.run(70)
    before = iteration(world, service_id)
    world.leader.abdicate()
    world.now += 3600
    world.leader.elect()
    world.run(5)
    assert iteration(world, service_id) == before + 1


def test_an_update_of_a_scheduled_job_runs_nothing_and_a_stopped_one_is_never_due(world):
    service_id = world.create_service(cron("@yearly"))
    world.update_service(service_id, lambda s: setattr(s.task.container, "image", "job:2"))
    world.run(30)
    assert world.tasks(service_id) == []

    def stopped(spec):
        spec.schedule, spec.stopped = "* * * * *", True

    world.update_service(service_id, stopped)
    world.run(200)
    assert world.tasks(service_id) == []


def test_schedules_are_read_as_cron_reads_them():
    at = 1_700_000_000  # 2023-11-14 22:13:20 UTC
    assert schedule.next_after("30 4 * * *", at) == 1_700_022_600
    assert schedule.next_after("@hourly", at) == 1_700_002_800
    assert schedule.next_after("0 0 29 2 *", at) == 1_709_164_800
    assert schedule.next_after("*/15 * * * mon-fri", at) == 1_700_000_100


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected five fields"),
        ("* * * *", "expected five fields, as 30 4"),
        ("* * * * * *", "expected five fields"),
        ("61 * * * *", "bad minute"),
        ("0 0 30 2 *", "--schedule '0 0 30 2 *': "),
        ("@often", "@hourly, @daily"),
        ("a\x00 * * * *", "expected five fields"),
    ],
)
def test_what_is_no_schedule_is_refused_in_words(text, words):
    with pytest.raises(InvalidSpec) as caught:
        schedule.check(text)
    assert words in str(caught.value)
