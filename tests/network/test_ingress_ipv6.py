"""Published ports and the way out by IPv6, on hosts whose own networks have it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from network_world import Host, World, outside

from swarmlite.network import netns
from swarmlite.proto.dispatcher_pb2 import Endpoint
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import PortConfig

pytestmark = pytest.mark.skipif(not netns.has_ipv6(), reason="this kernel has no IPv6")
CLIENT = "fd77::99"


async def lan6(host: Host, number: int) -> str:
    """Give a machine of the LAN an address of IPv6."""
    address = f"fd77::{number}"
    await host.arun("ip", "-6", "addr", "add", f"{address}/64", "dev", "eth0", "nodad")
    return address


async def two_nodes(world: World) -> tuple[list[Host], Network]:
    hosts = [await world.add_host(), await world.add_host()]
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    for number, host in enumerate(hosts, 1):
        address = await lan6(host, number)
        key = f"{ingress.id}/node/{host.name}"
        endpoint = Endpoint()
        endpoint.CopyFrom(world.endpoints[key])
        endpoint.node_addrs.append(address)
        world.endpoints[key] = endpoint
    return hosts, ingress


async def serve(world: World, host: Host, name: str, ingress: Network, number: int) -> Path:
    """A task whose server tells its name, published on port 8080 + number of all nodes."""
    service = world.service(name)
    for protocol in (PortConfig.TCP, PortConfig.UDP):
        service.ingress_ports.add(protocol=protocol, target_port=80, published_port=8080 + number)
    task = await world.task(host, name, (ingress, f"10.0.0.1{number}/24"), service=service)
    for kind in ("tcp", "udp"):
        host.serve(kind, 80, name, task.netns, six=True)
    return task.netns


async def test_a_published_port_answers_every_caller_by_ipv6(world: World) -> None:
    """From outside with the client's address, from each node, from tasks and plain containers, to
    every node's address, wherever the task is: TCP and UDP. By IPv4 it goes on to answer.
    """
    (one, two), ingress = await two_nodes(world)
    client = await outside(world)
    await lan6(client, 99)
    callers: list[tuple[str, Host, Path | None]] = [("outside", client, None)]
    for number, host in enumerate((one, two), 1):
        inside = await serve(world, host, f"web{number}", ingress, number)
        plain = await world.container(host, f"plain{number}")
        callers += [
            (f"node {number}", host, None),
            (f"task {number}", host, inside),
            (f"container {number}", host, plain.netns),
        ]

    async def wrong(name: str, caller: Host, where: Path | None) -> list[str]:
        found = []
        for kind in ("tcp", "udp"):
            for target in ("fd77::1", "fd77::2", one.address):
                for number in (1, 2):
                    (said,) = await caller.ask(kind, target, 8080 + number, netns=where)
                    expected = f"web{number} "
                    if name == "outside":
                        expected += CLIENT if ":" in target else "::ffff:192.168.77.99"
                    if not said.startswith(expected):
                        found.append(f"{name} to {target}, {kind}, task {number}: {said}")
        return found

    results = [await wrong(*caller) for caller in callers]
    assert not [line for lines in results for line in lines]


async def test_connections_by_ipv6_take_turns_and_know_which_backends_are_there(
    world: World,
) -> None:
    (one, two), ingress = await two_nodes(world)
    web = world.service("web")
    web.ingress_ports.add(protocol=PortConfig.TCP, target_port=80, published_port=8080)
    for number, host in enumerate((one, two)):
        place = (ingress, f"10.0.0.1{number}/24")
        task = await world.task(host, f"web{number}", place, service=web)
        host.serve("tcp", 80, f"web{number}", task.netns, six=True)
    said = await two.ask("tcp", "fd77::1", 8080, 6)
    assert sorted(line.split()[0] for line in said) == ["web0"] * 3 + ["web1"] * 3
    world.change(f"{ingress.id}/web0", in_rotation=False)
    await world.tell()
    assert {line.split()[0] for line in await two.ask("tcp", "fd77::1", 8080, 4)} == {"web1"}
    world.change(f"{ingress.id}/web1", in_rotation=False)
    await world.tell()
    assert await two.ask("tcp", "fd77::1", 8080) == ["error ConnectionRefusedError"]


async def test_ports_are_apart_by_family_and_address(world: World) -> None:
    """`ip=` of either family, on both kinds of ports; nobody's stands in another's way."""
    (one, two), ingress = await two_nodes(world)
    await one.arun("ip", "-6", "addr", "add", "fd77::a/64", "dev", "eth0", "nodad")
    wanted = {"four": "0.0.0.0", "six": "::", "only": "fd77::1", "other": "fd77::a"}
    for number, (name, host_ip) in enumerate(wanted.items()):
        service = world.service(name)
        port = 9000 if name in ("only", "other") else 8080 + number
        service.ingress_ports.add(
            protocol=PortConfig.TCP, target_port=80, published_port=port, host_ip=host_ip
        )
        place = (ingress, f"10.0.0.2{number}/24")
        task = await world.task(two, name, place, service=service)
        two.serve("tcp", 80, name, task.netns, six=True)
    ports = [
        PortConfig(protocol=PortConfig.TCP, target_port=80, published_port=7000, host_ip="fd77::1")
    ]
    host_mode = await world.task(one, "direct", (ingress, "10.0.0.30/24"), host_ports=ports)
    one.serve("tcp", 80, "direct", host_mode.netns, six=True)
    answers = {
        ("fd77::1", 9000): "only",
        ("fd77::a", 9000): "other",
        ("fd77::1", 8080): "error",
        (one.address, 8080): "four",
        ("fd77::1", 8081): "six",
        (one.address, 8081): "error",
        ("fd77::1", 7000): "direct",
        ("fd77::a", 7000): "error",
        (one.address, 7000): "error",
    }
    said = {key: (await two.ask("tcp", *key))[0].split()[0] for key in answers}
    assert said == answers


async def test_containers_reach_the_world_by_ipv6_and_neither_each_other_nor_the_control_ports(
    world: World,
) -> None:
    (one, two), _ = await two_nodes(world)
    two.serve("tcp", 8000, "far", six=True)
    two.serve("tcp", 2377, "managers", six=True)
    front = world.network("front", 4097, "10.1.0.0/24")
    within = world.network("within", 4098, "10.2.0.0/24", internal=True)
    task = await world.task(one, "task", (front, "10.1.0.10/24"))
    beside = await world.task(one, "beside", (front, "10.1.0.11/24"))
    shut = await world.task(one, "shut", (within, "10.2.0.10/24"))
    plain = await world.container(one, "plain")
    one.serve("tcp", 80, "beside", beside.netns, six=True)
    own = await one.arun("ip", "-6", "-o", "addr", "show", "scope", "global", netns=beside.netns)
    address = own.split()[3].partition("/")[0]
    for sandbox in (task, plain):
        assert await one.ask("tcp", "fd77::2", 8000, netns=sandbox.netns) == ["far fd77::1"]
        for target, port in ((address, 80), ("fd77::2", 2377)):
            (said,) = await one.ask("tcp", target, port, netns=sandbox.netns)
            assert said.startswith("error"), target
    (said,) = await one.ask("tcp", "fd77::2", 8000, netns=shut.netns)
    assert said.startswith("error")


async def test_ipv6_is_repaired_and_leaves_nothing(world: World) -> None:
    (one, two), ingress = await two_nodes(world)
    await serve(world, two, "web1", ingress, 1)
    assert (await two.ask("tcp", "fd77::1", 8081))[0].startswith("web1")
    await one.arun("nft", "delete", "table", "ip6", "swarmlite")
    await one.arun("ip", "-6", "neigh", "flush", "dev", "swarmlite-in", "nud", "permanent")
    await two.arun("ip", "-6", "route", "flush", "dev", "swarmlite0")
    for host in (one, two):
        await host.network.reconcile()
    assert (await two.ask("tcp", "fd77::1", 8081))[0].startswith("web1")
    for host in (one, two):
        await host.network.teardown()
        left = await host.arun(
            "sh", "-c", "ip -6 rule; ip -6 route show table all; nft list tables"
        )
        assert "fd53" not in left
        assert "swarmlite" not in left
        assert await asyncio.to_thread(host.run, "ip", "-6", "rule")


async def test_a_task_of_a_release_without_ipv6_takes_connections_once_its_host_was_upgraded(
    world: World,
) -> None:
    """Every node leads them there as soon as it is of this release itself."""
    (one, two), ingress = await two_nodes(world)
    inside = await serve(world, one, "web", ingress, 1)
    await world.tell()
    await one.network.settled()
    await one.arun("ip", "-6", "addr", "flush", "scope", "global", netns=inside)
    await one.arun("ip", "-6", "route", "flush", "table", "main", netns=inside)
    await one.network.close()
    await one.start()
    await world.tell()
    (said,) = await two.ask("tcp", "fd77::1", 8081)
    assert said.startswith("web ")
