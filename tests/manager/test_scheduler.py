from __future__ import annotations

from collections import Counter

import pytest
from world import service_spec

from swarmlite.manager.scheduler.filters import Filters
from swarmlite.manager.scheduler.nodes import Demand, Nodes
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.tables import Tables
from swarmlite.model.task_states import PENDING
from swarmlite.proto.objects_pb2 import Network, Node, Task
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import MANAGER, NodeStatus, PortConfig

GIB = 1 << 30


def err(world, service_id):
    return next(t.status.err for t in world.tasks(service_id) if t.status.state == PENDING)


def counts(world, service_id):
    return Counter(t.node_id for t in world.running(service_id))


def test_tasks_of_a_service_are_spread_over_the_nodes(world):
    for n in range(3):
        world.create_service(service_spec(f"s{n}", replicas=3))
    world.settle()
    assert set(Counter(t.node_id for t in world.view.tasks).values()) == {3}


def test_the_node_with_the_fewest_tasks_of_the_service_comes_before_the_emptiest(world):
    busy = sorted(world.agents)[0]
    spec = service_spec("other", replicas=5)
    spec.task.placement.constraints.append(f"node.id == {busy}")
    world.create_service(spec)
    service_id = world.create_service(service_spec("web", replicas=3))
    world.settle()
    assert set(counts(world, service_id).values()) == {1}


def test_reservations_are_kept_and_the_reason_is_said_once(world):
    spec = service_spec("big", replicas=4)
    spec.task.resources.reservations.memory_bytes = GIB
    service_id = world.create_service(spec)
    world.settle()
    assert set(counts(world, service_id).values()) == {1}
    assert err(world, service_id) == "no suitable node (insufficient memory on 3 nodes)"
    revision = world.view.revision
    world.leader.turn()
    assert world.view.revision == revision


def test_a_task_that_waited_is_placed_when_room_comes(world):
    spec = service_spec("big", replicas=4)
    spec.task.resources.reservations.memory_bytes = GIB
    service_id = world.create_service(spec)
    world.settle()
    world.add_node()
    world.settle()
    assert len(counts(world, service_id)) == 4
    assert not any(t.status.err for t in world.tasks(service_id))


def test_every_filter_explains_itself():
    nodes = Nodes()
    for number, change in enumerate(
        (
            lambda n: setattr(n.status, "state", NodeStatus.DOWN),
            lambda n: setattr(n.spec, "availability", NodeSpec.DRAIN),
            lambda n: n.spec.annotations.labels.update({"ssd": "false"}),
            lambda n: setattr(n.description.platform, "architecture", "arm64"),
            lambda n: setattr(n.description.resources, "memory_bytes", 1),
            lambda n: setattr(n.description.resources, "nano_cpus", 1),
        )
    ):
        node = Node(id=f"n{number}")
        node.status.state = NodeStatus.READY
        node.spec.annotations.labels["ssd"] = "true"
        node.description.platform.os, node.description.platform.architecture = "linux", "amd64"
        node.description.resources.memory_bytes, node.description.resources.nano_cpus = GIB, 10**9
        change(node)
        nodes.put_node(node)
    task = Task(service_id="s")
    task.spec.placement.constraints.append("node.labels.ssd == true")
    task.spec.placement.platforms.add(os="linux", architecture="amd64")
    task.spec.resources.reservations.memory_bytes = GIB
    task.spec.resources.reservations.nano_cpus = 10**9
    reason = Filters(task, Demand(task)).explain(nodes.infos.values())
    assert reason == (
        "no suitable node (constraint node.labels.ssd == true not met on 1 node; insufficient cpu"
        " on 1 node; insufficient memory on 1 node; no image for linux/arm64 on 1 node;"
        " not available for new tasks on 1 node; not ready on 1 node)"
    )


def test_a_task_of_an_encrypted_network_goes_where_it_can_be_encrypted(world):
    """Elsewhere it waits, with the node's own reason; it is placed once a node can."""
    network = world.add_network("sealed", "10.1.0.0/24")
    world.write(Put(encrypted(world.view.networks.get(network))))

    def says(reason):
        def change(node):
            said = node.description.encryption
            node.description.data_path_addr = f"192.0.2.{nodes.index(node.id)}"
            said.public_key, said.port = b"" if reason else bytes(32), 2383
            said.reason = reason

        return change

    nodes = sorted(world.agents)
    for node_id in nodes:
        world.change_node(node_id, says("no WireGuard"))
    spec = service_spec("web", replicas=2)
    spec.task.networks.add(target=network)
    service_id = world.create_service(spec)
    world.settle()
    assert err(world, service_id) == (
        "no suitable node (cannot encrypt network sealed: no WireGuard on 3 nodes)"
    )
    world.change_node(nodes[1], says(""))
    world.settle()
    assert counts(world, service_id) == {nodes[1]: 2}
    # Another that says the same key can not.
    world.change_node(nodes[2], says(""))
    more = service_spec("more", replicas=2)
    more.task.networks.add(target=network)
    second = world.create_service(more)
    world.settle()
    assert counts(world, second) == {nodes[1]: 2}


def encrypted(network):
    made = Network()
    made.CopyFrom(network)
    made.spec.driver.options["encrypted"] = ""
    return made


def test_without_any_node_the_reason_is_short():
    task = Task()
    assert Filters(task, Demand(task)).explain([]) == "no suitable node"


def test_a_host_port_is_given_once_a_node(world):
    spec = service_spec("dns", replicas=4)
    spec.endpoint.ports.add(
        target_port=53, published_port=53, publish_mode=PortConfig.HOST, protocol=PortConfig.UDP
    )
    service_id = world.create_service(spec)
    world.settle()
    assert len(counts(world, service_id)) == 3
    assert err(world, service_id) == "no suitable node (host port 53 in use on 3 nodes)"


def test_a_host_port_on_two_addresses_is_given_to_two_services_of_a_node(world):
    def made(name: str, host_ip: str) -> str:
        spec = service_spec(name, replicas=3)
        spec.endpoint.ports.add(
            target_port=53, published_port=53, publish_mode=PortConfig.HOST, host_ip=host_ip
        )
        return str(world.create_service(spec))

    first, second = made("a", "192.0.2.1"), made("b", "192.0.2.2")
    world.settle()
    assert len(counts(world, first)) == len(counts(world, second)) == 3
    everywhere = made("c", "")
    world.settle()
    assert err(world, everywhere) == "no suitable node (host port 53 in use on 3 nodes)"


def test_max_replicas_a_node_holds(world):
    spec = service_spec("web", replicas=7)
    spec.task.placement.max_replicas = 2
    service_id = world.create_service(spec)
    world.settle()
    assert set(counts(world, service_id).values()) == {2}
    assert "max replicas per node (2) reached on 3 nodes" in err(world, service_id)


def test_preferences_spread_over_values_before_nodes(world):
    for zone in "abb":
        world.add_node(zone=zone)
    for node_id in sorted(world.agents)[:3]:
        world.set_availability(node_id, NodeSpec.DRAIN)
    spec = service_spec("web", replicas=8)
    spec.task.placement.preferences.add().spread.spread_descriptor = "node.labels.zone"
    service_id = world.create_service(spec)
    world.settle()
    zones = Counter(
        world.view.nodes.get(t.node_id).spec.annotations.labels["zone"]
        for t in world.running(service_id)
    )
    assert zones == {"a": 4, "b": 4}
    assert sorted(counts(world, service_id).values()) == [2, 2, 4]


@pytest.mark.parametrize(
    ("key", "wanted"), [("node.id", [2, 2, 2, 2]), ("node.role", [1, 1, 2, 4])]
)
def test_preferences_may_go_by_what_constraints_go_by(world, key, wanted):
    manager = world.add_node()
    world.change_node(manager, lambda node: setattr(node, "role", MANAGER))
    spec = service_spec("web", replicas=8)
    spec.task.placement.preferences.add().spread.spread_descriptor = key
    service_id = world.create_service(spec)
    world.settle()
    assert sorted(counts(world, service_id).values()) == wanted


def test_a_node_where_a_version_failed_often_comes_last(world):
    bad = sorted(world.agents)[0]
    world.agents[bad].fails = lambda task: True
    spec = service_spec("web", replicas=1)
    spec.task.restart.delay.nanos = 1_000_000
    spec.task.placement.constraints.append(f"node.id == {bad}")
    service_id = world.create_service(spec)
    world.run(0.5, step=0.05)
    scheduler = world.leader.loops[2][0]
    info = scheduler._nodes.infos[bad]
    (group,) = info.failures
    assert info.fails(group, world.now)
    assert not info.fails(group, world.now + 301)
    assert group[0] == service_id


def test_what_nodes_have_left_is_the_same_kept_in_step_or_read_anew(world):
    """After everything that happened, events and a fresh look agree."""
    spec = service_spec("web", replicas=9)
    spec.task.resources.reservations.memory_bytes = 10 << 20
    service_id = world.create_service(spec)
    world.settle()
    world.cut(sorted(world.agents)[0])
    world.scale(service_id, 4)
    world.run(3)
    world.heal(sorted(world.agents)[0])
    world.run(3)
    kept, fresh = world.leader.loops[2][0]._nodes, Nodes.of(world.view)
    for node_id, info in fresh.infos.items():
        other = kept.infos[node_id]
        assert (info.memory, info.total, info.of_service) == (
            other.memory, other.total, other.of_service,
        )  # fmt: skip


def test_an_empty_store_is_scheduled_in_silence():
    assert Nodes.of(Tables()).infos == {}


def test_generic_resources_are_counted_named_and_waited_for(world):
    """Each name is given to one task at a time; what has none free says so."""
    node_id = min(node.id for node in world.view.nodes)

    def declare(node):
        node.description.resources.generic.add(kind="gpu", named="a")
        node.description.resources.generic.add(kind="gpu", named="b")

    world.change_node(node_id, declare)
    spec = service_spec("gpus", replicas=3)
    spec.task.resources.reservations.generic.add(kind="gpu", discrete=1)
    service_id = world.create_service(spec)
    world.settle()
    placed = [t for t in world.tasks(service_id) if t.node_id]
    assert {t.node_id for t in placed} == {node_id}
    assert sorted(t.assigned_generic_resources[0].named for t in placed) == ["a", "b"]
    assert err(world, service_id) == "no suitable node (insufficient gpu on 3 nodes)"
    world.remove_service(service_id)
    world.settle()
    one = service_spec("one", replicas=2)
    one.task.resources.reservations.generic.add(kind="gpu", named="b")
    service_id = world.create_service(one)
    world.settle()
    placed = [t for t in world.tasks(service_id) if t.node_id]
    assert [[g.named for g in t.assigned_generic_resources] for t in placed] == [["b"]]
    assert "no free gpu b on 1 node" in err(world, service_id)
