"""No task is placed before what its service depends on has come to what it asks for."""

from __future__ import annotations

from world import service_spec

from swarmlite.model.task_states import COMPLETE, FAILED, PENDING, RUNNING, STARTING
from swarmlite.proto.specs_pb2 import Dependency, ServiceSpec
from swarmlite.proto.types_pb2 import RestartPolicy


def depending(name, on, condition=Dependency.STARTED, **options):
    spec = service_spec(name, **options)
    spec.depends_on.add(service=on, condition=condition)
    return spec


def job(name, image="web:1"):
    spec = ServiceSpec()
    spec.annotations.name = name
    spec.task.container.image = image
    spec.task.restart.condition = RestartPolicy.NONE
    spec.replicated_job.total_completions = 2
    spec.replicated_job.max_concurrent = 1
    return spec


def reasons(world, service_id):
    return {t.status.err for t in world.tasks(service_id) if t.status.state == PENDING}


def report_all(world, service_id, state):
    for task in world.tasks(service_id):
        if task.status.state < state and task.desired_state <= COMPLETE:
            world.report(task.id, state)


def test_a_service_waits_with_the_reason_for_one_that_is_not_there_yet(world):
    web = world.create_service(depending("web", "db", replicas=3))
    world.settle()
    assert reasons(world, web) == {"waiting for db to start (there is no such service)"}
    world.create_service(service_spec("db"))
    world.settle()
    assert len(world.running(web)) == 3


def test_what_is_optional_and_not_there_holds_nothing(world):
    spec = depending("web", "db")
    spec.depends_on[0].optional = True
    web = world.create_service(spec)
    world.settle()
    assert len(world.running(web)) == 1


def test_healthy_is_more_than_started(world):
    """A task with a health check is STARTING until it has passed."""
    down = sorted(world.agents)[0]
    spec = service_spec("db")
    spec.task.placement.constraints.append(f"node.id == {down}")
    world.agents[down].slow = True
    db = world.create_service(spec)
    started = world.create_service(depending("a", "db"))
    healthy = world.create_service(depending("b", "db", Dependency.HEALTHY))
    world.cut(down)
    world.settle()
    assert reasons(world, healthy) == {"waiting for db to be healthy"}
    assert reasons(world, started) == {"waiting for db to start"}
    [task] = world.tasks(db)
    world.report(task.id, STARTING)
    world.settle()
    assert len(world.running(started)) == 1
    assert reasons(world, healthy) == {"waiting for db to be healthy"}
    world.report(task.id, RUNNING)
    world.settle()
    assert len(world.running(healthy)) == 1


def test_an_update_waits_for_the_migration_and_ends_nothing_meanwhile(world):
    migrate = world.create_service(job("migrate", image="long"))
    web = world.create_service(depending("web", "migrate", Dependency.COMPLETED, replicas=2))
    world.settle()
    assert reasons(world, web) == {"waiting for migrate to complete"}
    for _ in range(2):
        report_all(world, migrate, COMPLETE)
        world.settle()
    assert len(world.running(web)) == 2
    before = {t.id for t in world.running(web)}
    # Another release: its migration runs again, and web waits for it as it is.
    world.update_service(migrate, lambda s: setattr(s.task.container, "image", "long:2"))
    world.update_service(web, lambda s: setattr(s.task.container, "image", "web:2"))
    world.run(30)
    assert {t.id for t in world.running(web)} == before
    message = world.view.services.get(web).update_status.message
    assert message == "update in progress; waiting for migrate to complete"
    for _ in range(2):
        report_all(world, migrate, COMPLETE)
        world.settle()
    world.run(30)
    assert {t.spec.container.image for t in world.running(web)} == {"web:2"}
    assert "waiting" not in world.view.services.get(web).update_status.message


def test_a_migration_that_failed_is_the_reason(world):
    migrate = world.create_service(job("migrate", image="long"))
    web = world.create_service(depending("web", "migrate", Dependency.COMPLETED))
    world.settle()
    for _ in range(2):
        report_all(world, migrate, FAILED)
        world.settle()
    assert reasons(world, web) == {"waiting for migrate to complete (its task failed)"}


def test_a_new_leader_waits_as_the_old_one_did(world):
    web = world.create_service(depending("web", "db", replicas=2))
    world.settle()
    world.leader.abdicate()
    world.leader.elect()
    world.settle()
    assert len(reasons(world, web)) == 1
    world.create_service(service_spec("db"))
    world.settle()
    assert len(world.running(web)) == 2


def test_what_a_service_no_longer_depends_on_holds_it_no_longer(world):
    web = world.create_service(depending("web", "db"))
    world.settle()
    assert not world.running(web)
    world.update_service(web, lambda s: s.ClearField("depends_on"))
    world.settle()
    assert len(world.running(web)) == 1
