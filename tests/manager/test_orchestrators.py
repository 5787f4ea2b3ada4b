from __future__ import annotations

from collections import Counter

from world import START, service_spec

from swarmlite.manager.orchestrator.loop import Orchestrator
from swarmlite.manager.orchestrator.places import Place
from swarmlite.manager.orchestrator.replicated import free_slots, victims
from swarmlite.manager.store.api import Action, Event, Put
from swarmlite.manager.store.tables import Tables
from swarmlite.model.task_states import COMPLETE, FAILED, READY, REMOVE, RUNNING, SHUTDOWN
from swarmlite.model.units import duration
from swarmlite.proto.objects_pb2 import Service, Task
from swarmlite.proto.specs_pb2 import NodeSpec, ServiceSpec
from swarmlite.proto.types_pb2 import RestartPolicy


def spread(world, service_id):
    return Counter(t.node_id for t in world.running(service_id))


def place(slot, node_id, state=RUNNING):
    task = Task(id=f"t{slot}", slot=slot, node_id=node_id, desired_state=RUNNING)
    task.status.state = state
    return Place(slot, [task], live=[task])


def test_a_replicated_service_gets_a_task_in_each_slot(world):
    """Slots count from 1, tasks carry the service's spec, version and names."""
    service_id = world.create_service(service_spec("web", replicas=3))
    world.run(1)
    tasks = world.running(service_id)
    assert [t.slot for t in tasks] == [1, 2, 3]
    assert all(t.spec_version.index for t in tasks)
    assert tasks[0].annotations.name == f"web.1.{tasks[0].id}"
    assert tasks[0].service_annotations.name == "web"


def test_a_crash_is_answered_while_a_large_service_is_being_filled():
    """Filling goes on where it stopped, and nothing is made twice."""
    service = Service(id="s")
    service.spec.CopyFrom(service_spec("web", replicas=35))
    service.spec.task.restart.delay.CopyFrom(duration(0))
    service.spec_version.index = 1
    view, orchestrator = Tables(), Orchestrator(budget=10)
    view.services.put(service)
    orchestrator.reset(view)
    filled: list[list[int]] = []
    for round_ in range(8):
        changes = orchestrator.plan(view, 1000.0 + round_)
        assert len(changes) <= 12
        filled.append([c.obj.slot for c in changes if not c.obj.meta.version.index])
        events = []
        for number, change in enumerate(changes):
            change.obj.meta.version.index = 1000 * round_ + number + 1
            events.append(Event(Action.UPDATE, "task", change.obj, view.tasks.put(change.obj)))
        if round_ == 0:
            events.append(crash(view, next(t for t in view.tasks if t.slot == 3)))
        orchestrator.observe(events)
    assert filled[0] == list(range(1, 11))
    assert filled[1][0] == 3
    desired = Counter(t.slot for t in view.tasks if t.desired_state <= RUNNING)
    assert desired == Counter(range(1, 36))
    assert len(view.tasks) == 36


def crash(view, task):
    ended = Task()
    ended.CopyFrom(task)
    ended.status.state = FAILED
    ended.meta.version.index += 1
    return Event(Action.UPDATE, "task", ended, view.tasks.put(ended))


def test_scale_down_removes_from_the_busiest_node_first():
    places = [place(1, "a"), place(2, "b"), place(3, "a"), place(4, "a")]
    assert [p.key for p in victims(places, 2)] == [4, 3]


def test_scale_down_prefers_what_does_not_run_and_then_the_highest_slot():
    places = [place(1, "a", READY), place(2, "b"), place(3, "c")]
    assert [p.key for p in victims(places, 2)] == [1, 3]


def test_new_slots_take_the_lowest_free_numbers():
    assert free_slots([1, 3, 4], 3) == [2, 5, 6]


def test_scaling_to_nothing_removes_every_task_and_its_history(world):
    service_id = world.create_service(service_spec("web", replicas=3))
    world.run(1)
    world.scale(service_id, 0)
    world.run(2)
    assert world.tasks(service_id) == []


def test_a_removed_service_loses_its_tasks(world):
    service_id = world.create_service(service_spec("web", replicas=3))
    world.run(1)
    world.remove_service(service_id)
    world.leader.turn([0])
    assert {t.desired_state for t in world.tasks(service_id)} == {REMOVE}
    world.run(1)
    assert world.tasks(service_id) == []
    assert not any(agent.containers for agent in world.agents.values())


def test_a_service_removed_between_two_leaders_loses_its_tasks(world):
    """The new leader finds tasks whose service is gone."""
    service_id = world.create_service(service_spec("web", replicas=2))
    world.run(1)
    world.leader.abdicate()
    world.remove_service(service_id)
    world.run(1)
    assert world.tasks(service_id) == []


def test_a_crashed_task_is_replaced_after_the_delay(world):
    spec = service_spec("web")
    spec.task.restart.delay.CopyFrom(duration(3 * 10**9))
    service_id = world.create_service(spec)
    world.run(1)
    (old,) = world.running(service_id)
    world.agents[old.node_id].kill(old.id)
    world.settle()
    new = next(t for t in world.tasks(service_id) if t.id != old.id)
    assert (new.desired_state, new.status.state) == (READY, READY)
    world.run(2, step=0.5)
    assert world.running(service_id) == []
    world.run(1.5, step=0.5)
    assert [t.id for t in world.running(service_id)] == [new.id]


def test_a_delay_goes_on_under_a_new_leader(world):
    service_id = world.create_service(service_spec("web"))
    world.run(1)
    (old,) = world.running(service_id)
    world.agents[old.node_id].kill(old.id)
    world.run(3)
    world.leader.elect()
    world.run(2.5, step=0.5)
    assert len(world.running(service_id)) == 1


def test_without_a_delay_the_replacement_runs_at_once(world):
    """No clock is waited for: just the loops' turns bring it to RUNNING."""
    spec = service_spec("web")
    spec.task.restart.delay.CopyFrom(duration(0))
    service_id = world.create_service(spec)
    world.run(1)
    (old,) = world.running(service_id)
    world.agents[old.node_id].kill(old.id)
    world.settle()
    assert [t.id for t in world.running(service_id)] != [old.id]
    assert len(world.running(service_id)) == 1


def test_attempts_are_counted_and_the_slot_is_then_left(world):
    spec = service_spec("web", "crash:1")
    spec.task.restart.delay.CopyFrom(duration(10**9))
    spec.task.restart.max_attempts = 3
    service_id = world.create_service(spec)
    world.run(10)
    world.leader.elect()
    world.run(10)
    tasks = world.tasks(service_id)
    assert len(tasks) == 4
    assert all((t.status.state, t.desired_state) == (FAILED, SHUTDOWN) for t in tasks)


def test_on_failure_leaves_a_task_that_completed(world):
    spec = service_spec("web", "job:1")
    spec.task.restart.condition = RestartPolicy.ON_FAILURE
    service_id = world.create_service(spec)
    world.run(20)
    assert [t.status.state for t in world.tasks(service_id)] == [COMPLETE]


def test_tasks_of_a_dead_node_move_at_once(world):
    service_id = world.create_service(service_spec("web", replicas=3))
    world.run(1)
    dead = world.running(service_id)[0].node_id
    world.crash(dead)
    world.settle()
    assert len(world.running(service_id)) == 3
    assert dead not in spread(world, service_id)


def test_a_node_that_comes_back_loses_its_stale_copies(world):
    service_id = world.create_service(service_spec("web", replicas=3))
    world.run(1)
    cut = world.running(service_id)[0].node_id
    world.cut(cut)
    world.run(1)
    assert world.agents[cut].containers
    world.heal(cut)
    world.run(1)
    running = {t.id for t in world.running(service_id)}
    assert {i for a in world.agents.values() for i in a.containers} == running
    assert len(running) == 3


def test_a_drained_node_is_emptied_and_a_paused_one_is_not(world):
    service_id = world.create_service(service_spec("web", replicas=6))
    world.run(1)
    first, second, _ = sorted(world.agents)
    world.set_availability(first, NodeSpec.DRAIN)
    world.set_availability(second, NodeSpec.PAUSE)
    world.run(1)
    counts = spread(world, service_id)
    assert counts[first] == 0 and counts[second] == 2 and sum(counts.values()) == 6


def test_a_global_service_runs_once_on_each_fitting_node(world):
    fitting = world.add_node(disk="ssd")
    spec = service_spec("log", replicas=None)
    spec.task.placement.constraints.append("node.labels.disk == ssd")
    service_id = world.create_service(spec)
    world.run(1)
    late = world.add_node(disk="ssd")
    world.run(1)
    assert set(spread(world, service_id)) == {fitting, late}
    world.set_availability(fitting, NodeSpec.DRAIN)
    world.run(1)
    assert set(spread(world, service_id)) == {late}


def test_a_plan_is_bounded_and_goes_on(world):
    """The manager's other work has its turn between parts of a large decision."""
    world.create_service(service_spec("web", replicas=180))
    world.leader.turn([0])
    assert len(world.view.tasks) == 50
    assert world.leader.busy()


def test_the_outcome_is_the_same_when_every_first_write_conflicts(world):
    service_id = world.create_service(service_spec("web", replicas=4))
    world.run(1)

    def touch_all(changes):
        for change in changes:
            if change.obj.meta.version.index:
                stored = world.view.tasks.get(change.obj.id)
                if stored is not None and stored.status.message != "touched":
                    touched = Task()
                    touched.CopyFrom(stored)
                    touched.status.message = "touched"
                    world.store.commit_now([Put(touched)])

    world.leader.interfere = touch_all
    world.update_service(service_id, lambda s: setattr(s.task.container, "image", "web:2"))
    world.run(60)
    assert [t.slot for t in world.running(service_id)] == [1, 2, 3, 4]


def test_a_replicated_job_completes_each_slot_once(world):
    spec = ServiceSpec()
    spec.annotations.name = "job"
    spec.task.container.image = "job:1"
    spec.replicated_job.total_completions, spec.replicated_job.max_concurrent = 5, 2
    service_id = world.create_service(spec)
    world.leader.turn([0])
    assert len(world.tasks(service_id)) == 2
    world.run(60)
    assert [(t.slot, t.status.state) for t in world.tasks(service_id)] == [
        (slot, COMPLETE) for slot in range(1, 6)
    ]
    world.update_service(service_id, lambda s: None)
    world.run(60)
    assert {t.job_iteration.index for t in world.tasks(service_id)} == {2}


def test_a_global_job_completes_once_on_each_node(world):
    spec = ServiceSpec()
    spec.annotations.name = "job"
    spec.task.container.image = "job:1"
    spec.global_job.SetInParent()
    service_id = world.create_service(spec)
    world.run(30)
    tasks = world.tasks(service_id)
    assert {t.node_id for t in tasks} == set(world.agents) and len(tasks) == 3


def test_a_drained_node_gives_its_part_of_a_global_job_up(world):
    """Its task is stopped and not left to complete."""
    spec = ServiceSpec()
    spec.annotations.name = "job"
    spec.task.container.image = "web:1"
    spec.global_job.SetInParent()
    service_id = world.create_service(spec)
    world.run(1)
    drained = sorted(world.agents)[0]
    world.set_availability(drained, NodeSpec.DRAIN)
    world.run(1)
    assert {t.node_id for t in world.running(service_id)} == set(world.agents) - {drained}
    assert not world.agents[drained].containers


def test_tasks_are_found_by_their_place(world):
    """Slot or node; what is deleted is found no longer."""
    service_id = world.create_service(service_spec("web", replicas=2))
    global_id = world.create_service(service_spec("log", replicas=None))
    world.run(1)
    tasks = world.view.tasks
    assert [t.slot for t in tasks.of_place((service_id, 2)).values()] == [2]
    node_id = sorted(world.agents)[0]
    assert [t.node_id for t in tasks.of_place((global_id, node_id)).values()] == [node_id]
    world.remove_service(service_id)
    world.run(1)
    assert not tasks.of_place((service_id, 2))


def test_a_rejected_task_is_tried_again_after_the_restart_delay_from_the_first_time_on(world):
    """Its successor would be rejected as fast: it is prepared before it is to start."""
    spec = service_spec("web", image="reject:1")
    spec.task.restart.delay.FromSeconds(5)
    service_id = world.create_service(spec)
    for tried, seconds in ((1, 4), (2, 5), (3, 5), (4, 5)):
        world.run(seconds)
        assert len(world.tasks(service_id)) == min(tried, 3)  # two of history are kept
        newest = max(world.tasks(service_id), key=lambda t: t.meta.created_version.index)
        assert newest.meta.created_at.seconds == int(START) + 5 * (tried - 1)


def test_a_task_that_its_node_no_longer_suits_is_replaced_at_once(world):
    node_id = next(iter(world.view.nodes)).id
    world.change_node(node_id, lambda n: n.spec.annotations.labels.update({"ssd": "yes"}))
    other = list(world.view.nodes)[1].id
    world.change_node(other, lambda n: n.spec.annotations.labels.update({"ssd": "yes"}))
    spec = service_spec("web")
    spec.task.placement.constraints.append("node.labels.ssd == yes")
    spec.task.restart.delay.FromSeconds(0)
    service_id = world.create_service(spec)
    world.run(2)
    (task,) = world.running(service_id)
    world.change_node(task.node_id, lambda n: n.spec.annotations.labels.clear())
    world.settle()
    (moved,) = world.running(service_id)
    assert moved.node_id != task.node_id
