"""Published ports: every host answers, wherever the tasks are, and they see who asks."""

from __future__ import annotations

import pytest
from network_world import SCTP_CONNTRACK, World, first_sctp_packet, outside

from swarmlite.errors import AlreadyExists
from swarmlite.proto.types_pb2 import PortConfig


async def test_a_published_port_answers_on_every_host_with_the_clients_address(
    world: World,
) -> None:
    """From outside, by each host's address; both tasks are hit; the source is the client's."""
    hosts = [await world.add_host() for _ in range(3)]
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    web = world.service("web")
    web.ingress_ports.add(protocol=PortConfig.TCP, target_port=80, published_port=8080)
    web.ingress_ports.add(protocol=PortConfig.UDP, target_port=53, published_port=5353)
    for number, host in enumerate(hosts[:2]):
        place = (ingress, f"10.0.0.1{number}/24")
        sandbox = await world.task(host, f"web{number}", place, service=web, serve=80)
        host.serve("udp", 53, f"udp{number}", sandbox.netns)
    client = await outside(world)
    for host in hosts:
        said = await client.ask("tcp", host.address, 8080, 4)
        assert sorted(said) == ["web0 192.168.77.99"] * 2 + ["web1 192.168.77.99"] * 2
        said = await client.ask("udp", host.address, 5353, 4)
        assert sorted(said) == ["udp0 192.168.77.99"] * 2 + ["udp1 192.168.77.99"] * 2
    # Another node as the client, and each host by its own address and its loopback.
    said = await hosts[2].ask("tcp", hosts[0].address, 8080, 2)
    assert sorted(line.split()[0] for line in said) == ["web0", "web1"]
    for host in hosts:
        for address in (host.address, "127.0.0.1"):
            said = await host.ask("tcp", address, 8080, 4)
            assert sorted(line.split()[0] for line in said) == ["web0", "web0", "web1", "web1"]
    # A container by its host's address.
    front = world.network("front", 4097, "10.1.0.0/24")
    inside = await world.task(hosts[0], "inside", (front, "10.1.0.20/24"))
    said = await hosts[0].ask("tcp", hosts[0].address, 8080, 2, netns=inside.netns)
    assert sorted(line.split()[0] for line in said) == ["web0", "web1"]


async def test_strict_reverse_path_checks_do_not_stop_clients(world: World) -> None:
    """A host that checks reverse paths still takes the clients of other nodes' ports."""
    one, two = await world.add_host(), await world.add_host()
    for host in (one, two):
        await host.arun("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter")
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    web = world.service("web")
    web.ingress_ports.add(protocol=PortConfig.TCP, target_port=80, published_port=8080)
    await world.task(two, "web0", (ingress, "10.0.0.10/24"), service=web, serve=80)
    # The way back to the client's network leads elsewhere for the task's host.
    other = "192.168.99.9"
    client = await outside(world)
    await client.arun("ip", "addr", "add", f"{other}/32", "dev", "lo")
    await client.arun("ip", "route", "add", one.address, "dev", "eth0", "src", other)
    await one.arun("ip", "route", "add", other, "via", "192.168.77.99")
    await two.arun("ip", "route", "add", "blackhole", f"{other}/32")
    assert await client.ask("tcp", one.address, 8080) == [f"web0 {other}"]


async def test_a_port_without_tasks_refuses(world: World) -> None:
    """At once, on every host, whatever listens there itself."""
    one = await world.add_host()
    world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    web = world.service("web")
    web.ingress_ports.add(protocol=PortConfig.TCP, target_port=80, published_port=8080)
    await world.tell()
    one.serve("tcp", 8080, "other")
    client = await outside(world)
    assert await client.ask("tcp", one.address, 8080) == ["error ConnectionRefusedError"]


async def test_a_host_port_leads_to_its_container(world: World) -> None:
    """Published on its own host only; 0 is chosen; a taken port is refused and nothing stays."""
    one = await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    port = PortConfig(target_port=80, published_port=8081, publish_mode=PortConfig.HOST)
    await world.task(one, "web0", (net, "10.1.0.10/24"), host_ports=[port], serve=80)
    client = await outside(world)
    assert await client.ask("tcp", one.address, 8081) == ["web0 192.168.77.99"]
    (said,) = await one.ask("tcp", "127.0.0.1", 8081)
    assert said.startswith("web0")
    free = PortConfig(target_port=80, publish_mode=PortConfig.HOST)
    chosen = await world.task(one, "web1", (net, "10.1.0.11/24"), host_ports=[free], serve=80)
    number = chosen.host_ports[0].published_port
    assert number > 1024
    assert await client.ask("tcp", one.address, number) == ["web1 192.168.77.99"]
    one.serve("tcp", 8082, "host")
    taken = PortConfig(target_port=80, published_port=8082, publish_mode=PortConfig.HOST)
    for wrong in (port, taken):
        with pytest.raises(AlreadyExists, match="already taken"):
            await world.task(one, "web2", (net, "10.1.0.12/24"), host_ports=[wrong])
    assert one.network.sandboxes() == ["web0", "web1"]
    await one.network.delete_sandbox("web0")
    assert (await client.ask("tcp", one.address, 8081))[0].startswith("error")


async def test_services_share_a_port_on_addresses_of_their_own(world: World) -> None:
    """Each answers on its own, on every host that has it; the third has the other addresses."""
    one, two = await world.add_host(), await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    for number, host_ip in enumerate((one.address, two.address, "")):
        service = world.service(f"s{number}")
        service.ingress_ports.add(target_port=80, published_port=8080, host_ip=host_ip)
        place = (ingress, f"10.0.0.1{number}/24")
        await world.task(two, f"s{number}", place, service=service, serve=80)
    client = await outside(world)
    assert await client.ask("tcp", one.address, 8080) == ["s0 192.168.77.99"]
    assert await client.ask("tcp", two.address, 8080) == ["s1 192.168.77.99"]
    (said,) = await one.ask("tcp", "127.0.0.1", 8080)
    assert said.startswith("s2 ")


async def test_a_port_with_source_masquerade_shows_its_tasks_a_node(world: World) -> None:
    """Wherever the task is; several published ports may lead to one target, each by its rule."""
    one, two = await world.add_host(), await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    web = world.service("web")
    web.ingress_ports.add(target_port=80, published_port=8080, source=PortConfig.MASQUERADE)
    web.ingress_ports.add(target_port=80, published_port=8081)
    await world.task(two, "web0", (ingress, "10.0.0.10/24"), service=web, serve=80)
    client = await outside(world)
    assert await client.ask("tcp", one.address, 8080) == ["web0 10.0.0.200"]
    (said,) = await client.ask("tcp", two.address, 8080)
    assert said.startswith("web0 172.")
    for host in (one, two):
        assert await client.ask("tcp", host.address, 8081) == ["web0 192.168.77.99"]


@pytest.mark.skipif(
    not SCTP_CONNTRACK.exists(), reason="this kernel's connection tracking knows no SCTP"
)
async def test_an_sctp_association_reaches_a_task_on_another_host(world: World) -> None:
    """Its first packet arrives, at the task's port, with its client's address."""
    one, two = await world.add_host(), await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    web = world.service("web")
    web.ingress_ports.add(target_port=99, published_port=5399, protocol=PortConfig.SCTP)
    task = await world.task(two, "web0", (ingress, "10.0.0.10/24"), service=web)
    assert await first_sctp_packet(await outside(world), one.address, two, task.netns) == [
        "192.168.77.99", "99", "1",
    ]  # fmt: skip
