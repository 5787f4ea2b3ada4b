"""Published ports, whoever asks and wherever the task is; and what the mesh leaves alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from network_world import Host, World, outside, resolve

from swarmlite.errors import FailedPrecondition
from swarmlite.proto.dispatcher_pb2 import VirtualService
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import PortConfig

STREAM = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
s.settimeout(0.05)
last = None
for _ in range(5000):
    time.sleep(0.01)
    try:
        s.send(b"x")
        said = s.recv(200).decode().split()[0]
    except OSError:
        said = "-"
    if said != last:
        print(said, flush=True)
        last = said
"""


@contextlib.asynccontextmanager
async def stream(host: Host, target: str, port: int) -> AsyncIterator[Callable[[str], object]]:
    """One UDP stream from one port; what it yields waits until a given server answers it."""
    import sys

    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net={host.namespace}", sys.executable, "-I", "-S", "-c", STREAM,
        target, str(port), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    output = process.stdout

    async def heard(name: str) -> None:
        while (line := (await output.readline()).decode().strip()) != name:
            assert line, f"the stream ended before {name} answered"

    try:
        yield heard
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def publish(world: World, name: str, number: int) -> VirtualService:
    service = world.service(name)
    for protocol in (PortConfig.TCP, PortConfig.UDP):
        service.ingress_ports.add(protocol=protocol, target_port=80, published_port=number)
    return service


async def test_a_published_port_answers_every_caller_wherever_its_task_is(world: World) -> None:
    """Outside, each node, containers on a bridge, an overlay, the host's network, and the tasks
    themselves: TCP and UDP, by every node's address. Clients from outside keep their address.
    """
    one, two = await world.add_host(), await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    front = world.network("front", 4097, "10.1.0.0/24")
    callers: list[tuple[str, Host, Path | None]] = [("outside", await outside(world), None)]
    for number, host in enumerate((one, two), 1):
        name = f"web{number}"
        place = (ingress, f"10.0.0.1{number}/24")
        service = publish(world, name, 8080 + number)
        task = await world.task(host, name, place, service=service, serve=80)
        host.serve("udp", 80, name, task.netns)
        bridge = await world.container(host, f"plain{number}", "bridge")
        overlay = await world.task(host, f"over{number}", (front, f"10.1.0.2{number}/24"))
        own = await world.container(host, f"own{number}", mode="host")
        callers += [
            (f"node {number}", host, None),
            (f"bridge {number}", host, bridge.netns),
            (f"overlay {number}", host, overlay.netns),
            (f"host network {number}", host, own.netns),
            (f"task {number}", host, task.netns),
        ]

    async def wrong(name: str, caller: Host, netns: Path | None) -> list[str]:
        found = []
        for kind in ("tcp", "udp"):
            for target in (one, two):
                for number in (1, 2):
                    (said,) = await caller.ask(kind, target.address, 8080 + number, netns=netns)
                    expected = f"web{number}"
                    if name == "outside":
                        expected += " 192.168.77.99"
                    if not said.startswith(expected):
                        found.append(f"{name} to {target.name}, {kind}, task {number}: {said}")
        return found

    results = [await wrong(*caller) for caller in callers]
    assert not [line for lines in results for line in lines]


async def test_the_mesh_leaves_the_hosts_own_resolver_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a loopback address, and on the host's own, with a service on port 53 of every node."""
    servers: list[str] = []
    monkeypatch.setattr("swarmlite.network.resolvers.host_resolvers", lambda: servers)
    monkeypatch.setattr("swarmlite.network.resolvers.RESOLVERS_TTL_S", -1.0)
    one = await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    front = world.network("front", 4097, "10.1.0.0/24")
    dns = world.service("dns")
    for protocol in (PortConfig.TCP, PortConfig.UDP):
        dns.ingress_ports.add(protocol=protocol, target_port=53, published_port=53)
    task = await world.task(one, "dns0", (ingress, "10.0.0.10/24"), service=dns, serve=53)
    one.serve("udp", 53, "dns0", task.netns)
    client = await world.task(one, "client", (front, "10.1.0.20/24"))
    one.serve_dns("127.0.0.53", "203.0.113.53")
    one.serve_dns(one.address, "203.0.113.77")
    for server, answer in (("127.0.0.53", "203.0.113.53"), (one.address, "203.0.113.77")):
        servers[:] = [server]
        assert (await resolve(one, client, f"example{answer}")).addresses == [answer]
    # The host's own question to its resolver gets there; whoever asks the node gets the service.
    assert await one.ask("udp", "127.0.0.1", 53) == ["dns0 172.18.0.1"]
    (said,) = await one.ask("tcp", one.address, 53)
    assert said.startswith("dns0")
    shown = await one.arun("nft", "list", "ruleset")
    assert "127.0.0.53" not in shown


async def test_a_udp_stream_that_is_older_than_the_port_gets_through(world: World) -> None:
    """On the node that is asked, when the service's port appears."""
    one, two = await world.add_host(), await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    await world.tell()
    await world.container(one, "any", "bridge")  # the host's rules are there
    client = await outside(world)
    async with stream(client, one.address, 5353) as heard:
        await heard("-")
        web = world.service("web")
        web.ingress_ports.add(protocol=PortConfig.UDP, target_port=53, published_port=5353)
        task = await world.task(two, "web0", (ingress, "10.0.0.10/24"), service=web)
        two.serve("udp", 53, "web0", task.netns)
        await heard("web0")
        # And the next task's, once this one is gone.
        del world.endpoints[f"{ingress.id}/web0"]
        await world.tell()
        await two.network.delete_sandbox("web0")
        task = await world.task(one, "web1", (ingress, "10.0.0.11/24"), service=web)
        one.serve("udp", 53, "web1", task.netns)
        await heard("web1")


async def test_a_udp_stream_reaches_the_successor_of_a_task_in_host_mode(world: World) -> None:
    """Its target changes while the stream goes on; so it does for a plain container."""
    one = await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    port = PortConfig(
        target_port=53,
        published_port=5353,
        protocol=PortConfig.UDP,
        publish_mode=PortConfig.HOST,
    )
    first = await world.task(one, "web0", (net, "10.1.0.10/24"), host_ports=[port])
    one.serve("udp", 53, "web0", first.netns)
    client = await outside(world)
    async with stream(client, one.address, 5353) as heard:
        await heard("web0")
        await one.network.delete_sandbox("web0")
        second = await world.task(one, "web1", (net, "10.1.0.11/24"), host_ports=[port])
        one.serve("udp", 53, "web1", second.netns)
        await heard("web1")
        await one.network.delete_sandbox("web1")
        third = await world.container(one, "plain", "bridge", ports=[port])
        one.serve("udp", 53, "plain", third.netns)
        await heard("plain")


async def test_what_the_kernel_refuses_of_one_service_is_left_out_for_it_only(
    world: World,
) -> None:
    """The others' ports load, change and come back; the reason is told; mended, it is loaded."""
    one = await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    good: list[VirtualService] = []
    for number in range(5):
        service = publish(world, f"good{number}", 8080 + number)
        good.append(service)
        place = (ingress, f"10.0.0.1{number}/24")
        await world.task(one, f"good{number}", place, service=service, serve=80)
    bad = world.service("bad")
    wrong = bad.ingress_ports.add(target_port=80, published_port=9000, host_ip="1.2.3.999")
    await world.task(one, "bad0", (ingress, "10.0.0.30/24"), service=bad, serve=80)

    async def works() -> None:
        for number in range(5):
            (said,) = await one.ask("tcp", one.address, 8080 + number)
            assert said.startswith(f"good{number}")

    await works()
    plain = PortConfig(target_port=80, published_port=9000, host_ip="127.0.0.1")
    await world.container(one, "plain", "bridge", ports=[plain])
    await one.network.delete_sandbox("plain")
    assert list(one.network.refused_services()) == [bad.id]
    assert "nftables refused" in one.network.refused_services()[bad.id]
    # New tasks are made as before; repairs too leave out nothing but the one part.
    await one.arun("nft", "flush", "ruleset")
    await one.network.reconcile()
    await works()
    mended = VirtualService()
    mended.CopyFrom(bad)
    mended.ingress_ports[0].host_ip = ""
    assert wrong.host_ip
    world.services[bad.id] = mended
    await world.tell()
    assert one.network.refused_services() == {}
    assert (await one.ask("tcp", one.address, 9000))[0].startswith("bad0")
    await works()


async def test_a_container_whose_port_the_kernel_refuses_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason; nothing of it stays, and the next is made."""
    one = await world.add_host()
    port = PortConfig(target_port=80, published_port=8080, host_ip="1.2.3.999")
    monkeypatch.setattr("swarmlite.network.ports._check_address", lambda _: None)
    monkeypatch.setattr("swarmlite.network.ports._where", lambda _: "1.2.3.4")
    monkeypatch.setattr("swarmlite.network.ports._try_bind", lambda *_: None)
    monkeypatch.setattr("swarmlite.network.layout._is_loopback6", lambda _: False)
    with pytest.raises(FailedPrecondition, match="published ports: nftables refused"):
        await world.container(one, "bad", "bridge", ports=[port])
    assert one.network.sandboxes() == []
    await world.container(one, "good", "bridge", serve=80)


@pytest.mark.parametrize("size", ["1000", "1279"])
async def test_an_overlay_too_small_for_ipv6_takes_tasks(world: World, size: str) -> None:
    """Below 1280 bytes a link has no IPv6, and needs none."""
    one, two = await world.add_host(), await world.add_host()
    net: Network = world.network("front", 4097, "10.1.0.0/24")
    net.spec.driver.options["com.docker.network.driver.mtu"] = size
    await world.task(one, "t1", (net, "10.1.0.11/24"), serve=80)
    client = await world.task(two, "t2", (net, "10.1.0.12/24"))
    assert await two.ask("tcp", "10.1.0.11", 80, netns=client.netns) == ["t1 10.1.0.12"]


async def test_a_host_with_a_small_interface_takes_tasks(world: World) -> None:
    """Its way out and its overlays are below 1280 bytes too."""
    one = await world.add_host()
    await one.network.close()
    await one.arun("ip", "link", "set", "eth0", "mtu", "1200")
    await one.start()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = await world.task(one, "web", (net, "10.1.0.11/24"), serve=80)
    plain = await world.container(one, "plain", "bridge", serve=80)
    assert "mtu 1150" in await one.arun("ip", "link", "show", "eth0", netns=web.netns)
    assert "mtu 1200" in await one.arun("ip", "link", "show", "eth0", netns=plain.netns)
    assert await one.ask("tcp", plain.hosts[0][0], 80) == ["plain 172.17.0.1"]
