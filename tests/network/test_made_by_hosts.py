"""Networks of the managers that each host makes for itself: bridge, macvlan, ipvlan."""

from __future__ import annotations

import asyncio

import pytest
from network_world import Host, World, resolve

from swarmlite.errors import FailedPrecondition, NotFound, SwarmliteError
from swarmlite.network.api import Sandbox, SandboxRequest
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.proto.types_pb2 import NetworkAttachment


def shared(world: World, driver: str, config_from: str = "", **options: str) -> Network:
    """A network that the managers tell of, without addresses."""
    network = Network(id=f"{driver}-shared-id")
    network.spec.annotations.name, network.spec.driver.name = "site", driver
    network.spec.scope, network.spec.config_from = "swarm", config_from
    network.spec.driver.options.update(options)
    world.networks[network.id] = network
    return network


async def configure(host: Host, name: str, subnet: str, **options: str) -> None:
    spec = NetworkSpec(config_only=True)
    spec.annotations.name = name
    spec.driver.options.update(options)
    spec.ipam.configs.add(subnet=subnet)
    await host.network.networks.create(spec)


async def join(host: Host, world: World, name: str, *places: NetworkAttachment) -> Sandbox:
    made = await host.network.create_sandbox(name, SandboxRequest(places, names=[name, "web"]))
    world.sandboxes[name] = (host, made)
    return made


async def test_each_host_makes_it_of_its_own_configuration(world: World) -> None:
    """Addresses from there, or the one that is asked for; names on the host; beside an overlay, and
    with a published port that every node answers.
    """
    one, two = await world.add_host(), await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    front = world.network("front", 4097, "10.1.0.0/24")
    network = shared(world, "bridge", config_from="base")
    await world.tell()
    place = NetworkAttachment(network_id=network.id, network_name="site", aliases=["db"])
    with pytest.raises(NotFound, match="network site: this host has no configuration base"):
        await join(one, world, "web1", place)
    await configure(one, "base", "10.61.0.0/24")
    await configure(two, "base", "10.62.0.0/24")
    first = await join(one, world, "web1", place)
    assert [e.address for e in first.endpoints] == ["10.61.0.2/24"]
    fixed = NetworkAttachment(
        network_id=network.id, network_name="site", addresses=["10.61.0.77/24"]
    )
    second = await join(one, world, "web2", fixed)
    assert (await resolve(one, second, "db")).addresses == ["10.61.0.2"]
    assert sorted((await resolve(one, second, "web")).addresses) == ["10.61.0.2", "10.61.0.77"]
    one.serve("tcp", 80, "web1", first.netns)
    assert (await one.ask("tcp", "10.61.0.2", 80, netns=second.netns))[0].startswith("web1")
    web = world.service("both")
    web.ingress_ports.add(target_port=80, published_port=8080)
    await world.task(
        two, "both", (front, "10.1.0.9/24"), (ingress, "10.0.0.9/24"), service=web
    )  # its endpoints; with a third place it is made again:
    await two.network.delete_sandbox("both")
    third = await join(
        two, world, "both",
        place,
        NetworkAttachment(network_id=front.id, addresses=["10.1.0.9/24"]),
        NetworkAttachment(network_id=ingress.id, addresses=["10.0.0.9/24"]),
    )  # fmt: skip
    two.serve("tcp", 80, "both", third.netns)
    assert [e.address for e in third.endpoints] == ["10.62.0.2/24", "10.1.0.9/24"]
    assert (await one.ask("tcp", two.address, 8080))[0].startswith("both")
    assert (await two.ask("tcp", one.address, 8080))[0].startswith("both")


async def test_it_outlives_the_agent_and_goes_with_the_managers_word(world: World) -> None:
    one = await world.add_host()
    network = shared(world, "bridge")
    await world.tell()
    place = NetworkAttachment(network_id=network.id, network_name="site")
    first = await join(one, world, "web1", place)
    await one.network.close()
    await one.start()
    await world.tell()
    second = await join(one, world, "web2", place)
    one.serve("tcp", 80, "web1", first.netns)
    target = first.endpoints[0].address.partition("/")[0]
    assert (await one.ask("tcp", target, 80, netns=second.netns))[0].startswith("web1")
    del world.networks[network.id]
    await world.tell()
    assert one.network.networks.in_use(network.id)
    for name in ("web1", "web2"):
        await one.network.delete_sandbox(name)
    for _ in range(1200):
        left = [n.id for n in one.network.networks.list()]
        if network.id not in left:
            break
        await asyncio.sleep(0.05)
    assert network.id not in left
    assert network.id[:12] not in await one.arun("ip", "link")


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
async def test_a_task_is_a_host_of_the_lan(world: World, driver: str) -> None:
    """With the address that its service asks for; where the kernel has the driver."""
    one, two = await world.add_host(), await world.add_host()
    network = shared(world, driver, config_from="lan")
    await configure(one, "lan", "192.168.77.0/24", parent="eth0")
    await world.tell()
    asked = NetworkAttachment(network_id=network.id, addresses=["192.168.77.200/24"])
    try:
        task = await join(one, world, "task", asked)
    except FailedPrecondition as error:
        assert f"no {driver}" in str(error)
        pytest.skip(str(error))
    one.serve("tcp", 80, "task", task.netns)
    assert (await two.ask("tcp", "192.168.77.200", 80))[0].startswith("task")


async def test_a_name_that_the_host_uses_itself_is_said(world: World) -> None:
    one = await world.add_host()
    spec = NetworkSpec()
    spec.annotations.name = "site"
    await one.network.networks.create(spec)
    network = shared(world, "bridge")
    await world.tell()
    with pytest.raises(SwarmliteError, match="network with name site already exists"):
        await join(one, world, "web", NetworkAttachment(network_id=network.id))
