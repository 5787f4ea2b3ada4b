from __future__ import annotations

from world import service_spec

from swarmlite.manager.enforcer import misfits
from swarmlite.model.task_states import FAILED, REJECTED, RUNNING
from swarmlite.model.units import duration
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.specs_pb2 import NodeSpec


def test_of_a_slot_only_the_last_ended_tasks_are_kept(world):
    """The cluster keeps two."""
    spec = service_spec("web", "crash:1")
    spec.task.restart.delay.CopyFrom(duration(10**9))
    service_id = world.create_service(spec)
    world.run(30)
    ended = [t for t in world.tasks(service_id) if t.status.state == FAILED]
    assert len(ended) == 2
    assert max(t.id for t in world.tasks(service_id)) > max(t.id for t in ended)


def test_tasks_of_a_removed_service_on_a_dead_node_are_not_waited_for(world):
    service_id = world.create_service(service_spec("web", replicas=3))
    world.run(1)
    cut = world.running(service_id)[0].node_id
    world.cut(cut)
    world.remove_service(service_id)
    world.run(1)
    assert world.tasks(service_id) == []
    world.heal(cut)
    world.run(1)
    assert not world.agents[cut].containers


def test_a_task_that_no_node_took_goes_at_once(world):
    spec = service_spec("web")
    spec.task.placement.constraints.append("node.labels.none == here")
    service_id = world.create_service(spec)
    world.run(1)
    world.scale(service_id, 0)
    world.settle()
    assert world.tasks(service_id) == []


def test_a_task_leaves_a_node_that_no_longer_meets_its_constraint(world):
    good, other = world.add_node(disk="ssd"), world.add_node(disk="ssd")
    spec = service_spec("db")
    spec.task.placement.constraints.append("node.labels.disk == ssd")
    service_id = world.create_service(spec)
    world.run(1)
    (task,) = world.running(service_id)
    world.change_node(task.node_id, lambda n: n.spec.annotations.labels.update({"disk": "hdd"}))
    world.run(7)
    old = world.view.tasks.get(task.id)
    assert old.status.state == REJECTED
    assert old.status.err == "the node no longer meets the constraint node.labels.disk == ssd"
    (new,) = world.running(service_id)
    assert new.node_id in {good, other} - {task.node_id}


def test_the_newest_tasks_beyond_a_nodes_memory_are_the_ones_to_go():
    node = Node(id="n")
    node.description.resources.memory_bytes = 100
    tasks = []
    for number, memory in enumerate((60, 50, 40)):
        task = Task(id=str(number), desired_state=RUNNING)
        task.status.state = RUNNING
        task.spec.resources.reservations.memory_bytes = memory
        task.meta.created_at.seconds = number + 1
        tasks.append(task)
    found = misfits(node, tasks)
    assert [(t.id, why) for t, why in found] == [
        ("1", "the node no longer has the reserved memory")
    ]


def test_a_paused_node_keeps_its_tasks(world):
    service_id = world.create_service(service_spec("web", replicas=3))
    world.run(1)
    before = {t.id for t in world.running(service_id)}
    world.set_availability(sorted(world.agents)[0], NodeSpec.PAUSE)
    world.run(3)
    assert {t.id for t in world.running(service_id)} == before
