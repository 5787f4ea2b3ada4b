"""The Control API for networks and published ports, over the real server on a unix socket."""

from __future__ import annotations

import asyncio

from api_world import Manager, ask, create, ingress, node, refused, service_spec, task

from swarmlite.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidSpec,
)
from swarmlite.model import task_states
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import NodeStatus, PortConfig


async def test_a_published_port_is_one_services(manager: Manager, control: ControlStub) -> None:
    manager.put(ingress())
    first, second, third = service_spec("a"), service_spec("b"), service_spec("c")
    for spec in (first, second, third):
        spec.endpoint.ports.add(target_port=80, published_port=8080)
    third.endpoint.ports[0].protocol = PortConfig.UDP
    await create(control, first)
    request = pb.CreateServiceRequest(spec=second)
    await refused(control.CreateService(request), InvalidSpec, "8080 is already in use.* a")
    second.endpoint.ports[0].publish_mode = PortConfig.HOST
    await refused(control.CreateService(request), InvalidSpec, "8080 is already in use")
    await create(control, third)


async def test_ports_that_every_node_uses_itself_are_refused(control: ControlStub) -> None:
    spec = service_spec()
    spec.endpoint.ports.add(target_port=80, published_port=2377)
    request = pb.CreateServiceRequest(spec=spec)
    await refused(control.CreateService(request), InvalidSpec, "belongs to the managers' API")


async def test_without_an_ingress_network_nothing_is_published_there(
    manager: Manager, control: ControlStub
) -> None:
    spec = service_spec()
    spec.endpoint.ports.add(target_port=80, published_port=8080)
    request = pb.CreateServiceRequest(spec=spec)
    line = "--publish 8080:80/tcp: there is no ingress network; make one with"
    await refused(control.CreateService(request), FailedPrecondition, line)
    made = await create(control, service_spec())
    update = pb.UpdateServiceRequest(service_id=made.id, version=made.meta.version, spec=spec)
    await refused(control.UpdateService(update), FailedPrecondition, line)
    host = service_spec("host")
    host.endpoint.ports.add(target_port=80, published_port=8080, publish_mode=PortConfig.HOST)
    await create(control, host)
    manager.put(ingress())
    spec.endpoint.ports[0].published_port = 8081
    await ask(control.UpdateService(pb.UpdateServiceRequest(
        service_id=made.id, version=made.meta.version, spec=spec
    )))  # fmt: skip


async def test_subnets_that_overlap_are_refused_with_both_names(
    manager: Manager, control: ControlStub
) -> None:
    request = pb.CreateNetworkRequest()
    request.spec.annotations.name = "front"
    request.spec.ipam.configs.add(subnet="10.1.0.0/16")
    await ask(control.CreateNetwork(request))
    for subnet in ("10.1.2.0/24", "10.0.0.0/8", "10.1.0.0/16"):
        request.spec.annotations.name = "back"
        request.spec.ipam.configs[0].subnet = subnet
        line = f"network back: subnet {subnet} overlaps 10.1.0.0/16 of network front"
        await refused(control.CreateNetwork(request), AlreadyExists, line)
    given = Network(id="given-id")
    given.spec.annotations.name = "given"
    given.ipam.configs.add(subnet="10.2.0.0/24")
    manager.put(given)
    request.spec.ipam.configs[0].subnet = "10.2.0.128/25"
    await refused(control.CreateNetwork(request), AlreadyExists, "10.2.0.0/24 of network given")


async def test_the_networks_of_each_node_keep_their_names(control: ControlStub) -> None:
    spec = service_spec()
    spec.task.networks.add(target="host")
    made = await create(control, spec)
    assert made.spec.task.networks[0].target == "host"
    wanted = pb.CreateNetworkRequest()
    wanted.spec.annotations.name = "bridge"
    await refused(control.CreateNetwork(wanted), InvalidSpec, "predefined")


async def test_there_is_one_ingress_network_and_one_network_of_a_name(
    control: ControlStub, manager: Manager
) -> None:
    """Names by whatever case, as DNS does not tell them apart; nothing is made."""
    manager.put(ingress())
    for name, inward, words in (
        ("other", True, "network ingress is the ingress network; there is one"),
        ("ingress", True, "network ingress already exists"),
        ("Ingress", False, "network Ingress: there is a network ingress"),
    ):
        wanted = pb.CreateNetworkRequest()
        wanted.spec.annotations.name, wanted.spec.ingress = name, inward
        await refused(control.CreateNetwork(wanted), AlreadyExists, words)
    assert len(manager.store.view.networks) == 1


async def test_a_subnet_over_a_nodes_own_route_is_refused_with_its_name(
    control: ControlStub, manager: Manager
) -> None:
    """Of any node that is known; a network of the hosts' own may have what it likes."""
    routed = node("n1")
    routed.description.routes.add(destination="10.20.0.0/16", interface="tun0")
    routed.description.routes.add(destination="fd99::/64")
    manager.put(routed)
    for subnet, words in (
        ("10.20.7.0/24", "subnet 10.20.7.0/24 overlaps the route to 10.20.0.0/16 by tun0 of node"),
        ("10.0.0.0/8", "overlaps the route to 10.20.0.0/16"),
        ("fd99::/80", "subnet fd99::/80 overlaps the route to fd99::/64 of node host-n1"),
    ):
        wanted = pb.CreateNetworkRequest()
        wanted.spec.annotations.name = "front"
        wanted.spec.ipam.configs.add(subnet=subnet)
        await refused(control.CreateNetwork(wanted), FailedPrecondition, words)
    assert not len(manager.store.view.networks)
    wanted.spec.ipam.configs[0].subnet = "10.21.0.0/24"
    await ask(control.CreateNetwork(wanted))
    own = pb.CreateNetworkRequest()
    own.spec.annotations.name, own.spec.driver.name = "own", "bridge"
    own.spec.ipam.configs.add(subnet="10.20.0.0/24")
    await ask(control.CreateNetwork(own))


async def test_removing_a_network_waits_for_tasks_whose_service_is_gone(
    control: ControlStub, manager: Manager
) -> None:
    wanted = pb.CreateNetworkRequest()
    wanted.spec.annotations.name = "front"
    network = await ask(control.CreateNetwork(wanted))
    leaving = task("n1")
    leaving.status.state = task_states.RUNNING
    leaving.networks.add(network_id=network.id)
    manager.put(leaving)
    removal = asyncio.ensure_future(ask(control.RemoveNetwork(pb.RemoveRequest(ref="front"))))
    await asyncio.sleep(0.1)
    assert not removal.done()
    leaving.status.state = task_states.SHUTDOWN
    manager.put(leaving)
    await removal
    assert not len(manager.store.view.networks)


async def test_a_network_of_a_task_on_a_dead_node_is_removed(
    control: ControlStub, manager: Manager
) -> None:
    wanted = pb.CreateNetworkRequest()
    wanted.spec.annotations.name = "front"
    network = await ask(control.CreateNetwork(wanted))
    dead, lost = node("n1"), task("n1")
    dead.status.state = NodeStatus.DOWN
    lost.status.state = task_states.RUNNING
    lost.desired_state = task_states.REMOVE
    lost.networks.add(network_id=network.id)
    manager.put(dead, lost)
    await ask(control.RemoveNetwork(pb.RemoveRequest(ref="front")))
