"""What tasks need of their host is had only where its owner allowed it."""

from __future__ import annotations

from world import service_spec

from swarmlite.model.task_states import PENDING


def allow(world, node_id, *words):
    def change(node):
        node.spec.allowed[:] = words

    world.change_node(node_id, change)


def privileged(name, **options):
    spec = service_spec(name, **options)
    spec.task.container.privileged = True
    spec.task.container.devices.append("/dev/fuse")
    return spec


def test_a_privileged_task_waits_with_the_reason_until_a_node_allows_all_that_it_needs(world):
    service_id = world.create_service(privileged("agent"))
    world.settle()
    [task] = world.tasks(service_id)
    assert task.status.state == PENDING
    assert task.status.err == "no suitable node (privileged not allowed on 3 nodes)"
    node_id = sorted(world.agents)[1]
    allow(world, node_id, "privileged")
    world.settle()
    [task] = world.tasks(service_id)
    assert task.status.err == (
        "no suitable node (privileged not allowed on 2 nodes; devices not allowed on 1 node)"
    )
    allow(world, node_id, "privileged", "devices")
    world.settle()
    assert [t.node_id for t in world.running(service_id)] == [node_id]


def test_a_global_service_runs_on_the_nodes_that_allow_it_and_leaves_one_that_no_longer_does(world):
    first, second, _ = sorted(world.agents)
    for node_id in (first, second):
        allow(world, node_id, "privileged", "devices")
    service_id = world.create_service(privileged("agent", replicas=None))
    world.settle()
    assert sorted(t.node_id for t in world.running(service_id)) == [first, second]
    allow(world, second, "devices")
    world.run(10)
    assert [t.node_id for t in world.running(service_id)] == [first]


def test_a_task_moves_when_its_node_takes_back_what_it_allowed(world):
    first, second, _ = sorted(world.agents)
    allow(world, first, "host-namespaces")
    spec = service_spec("watcher")
    spec.task.container.pid_mode = "host"
    service_id = world.create_service(spec)
    world.settle()
    assert [t.node_id for t in world.running(service_id)] == [first]
    allow(world, second, "host-namespaces")
    allow(world, first)
    world.run(10)
    assert [t.node_id for t in world.running(service_id)] == [second]
    assert any("no longer allows host-namespaces" in t.status.err for t in world.tasks(service_id))


def test_what_the_node_s_own_configuration_allows_counts_as_well(world):
    node_id = sorted(world.agents)[0]

    def change(node):
        node.description.engine.allowed.extend(("devices", "privileged"))

    world.change_node(node_id, change)
    service_id = world.create_service(privileged("agent", replicas=2))
    world.settle()
    assert {t.node_id for t in world.running(service_id)} == {node_id}
