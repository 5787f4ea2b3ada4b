"""VIPs in sandboxes: balanced in turn, among those in rotation, with the client's own address."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time

from network_world import SCTP_CONNTRACK, World, first_sctp_packet, in_thread

from swarmlite.network import netns


async def test_a_vip_hands_connections_to_all_backends_in_turn(world: World) -> None:
    """Backends on both hosts, evenly, and they see the client's own address."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.2/24"))
    for number, host in enumerate([one, two, two]):
        place = (net, f"10.1.0.1{number}/24")
        await world.task(host, f"web{number}", place, service=web, serve=80)
    client = await world.task(one, "client", (net, "10.1.0.20/24"))
    said = await one.ask("tcp", "10.1.0.2", 80, 9, netns=client.netns)
    assert {line: said.count(line) for line in set(said)} == {
        f"web{number} 10.1.0.20": 3 for number in range(3)
    }


async def test_a_backend_out_of_rotation_gets_nothing_new(world: World) -> None:
    """Within a moment of the managers' word; and with none left a connection is refused."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.2/24"))
    await world.task(one, "web0", (net, "10.1.0.10/24"), service=web, serve=80)
    await world.task(two, "web1", (net, "10.1.0.11/24"), service=web, serve=80)
    client = await world.task(one, "client", (net, "10.1.0.20/24"))
    world.change(f"{net.id}/web1", in_rotation=False)
    await world.tell()
    said = await one.ask("tcp", "10.1.0.2", 80, 4, netns=client.netns)
    assert set(said) == {"web0 10.1.0.20"}
    world.change(f"{net.id}/web0", in_rotation=False)
    await world.tell()
    said = await one.ask("tcp", "10.1.0.2", 80, netns=client.netns)
    assert said == ["error ConnectionRefusedError"]  # and no time-out


async def test_a_container_reaches_itself_through_its_own_vip(world: World) -> None:
    """The connection that is balanced to its own sender is answered too."""
    one = await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.2/24"))
    own = await world.task(one, "web0", (net, "10.1.0.10/24"), service=web, serve=80)
    assert await one.ask("tcp", "10.1.0.2", 80, 2, netns=own.netns) == ["web0 10.1.0.10"] * 2


async def test_a_connection_to_a_backend_that_is_gone_breaks_at_once(world: World) -> None:
    """Its conntrack entry is deleted; the client's next byte is refused, not swallowed."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.2/24"))
    await world.task(two, "web0", (net, "10.1.0.10/24"), service=web, serve=80)
    client = await world.task(one, "client", (net, "10.1.0.20/24"))

    def connect() -> socket.socket:
        home, there = netns.open_own(), os.open(client.netns, os.O_RDONLY)
        netns.enter(there)
        try:
            made = socket.create_connection(("10.1.0.2", 80), timeout=3)
            assert made.recv(100) == b"web0 10.1.0.20\n"
            return made
        finally:
            netns.enter(home)
            os.close(home)
            os.close(there)

    connection = in_thread(connect)
    with contextlib.closing(connection):
        del world.endpoints[f"{net.id}/web0"]
        await world.tell()
        await two.network.delete_sandbox("web0")

        def broken() -> bool:
            for _ in range(10):
                try:
                    connection.send(b"x")
                    time.sleep(0.1)
                except OSError:
                    return True
            return False

        assert await asyncio.to_thread(broken)


async def test_a_sandbox_has_the_vips_of_its_own_networks_alone(world: World) -> None:
    """Neither another network's VIP nor its addresses are reached."""
    one = await world.add_host()
    front = world.network("front", 4097, "10.1.0.0/24")
    back = world.network("back", 4098, "10.2.0.0/24")
    db = world.service("db", (back, "10.2.0.2/24"))
    await world.task(one, "db0", (back, "10.2.0.10/24"), service=db, serve=5432)
    client = await world.task(one, "client", (front, "10.1.0.20/24"))
    both = await world.task(one, "both", (front, "10.1.0.21/24"), (back, "10.2.0.21/24"))
    assert await one.ask("tcp", "10.2.0.2", 5432, netns=both.netns) == ["db0 10.2.0.21"]
    for address in ("10.2.0.2", "10.2.0.10"):
        (said,) = await one.ask("tcp", address, 5432, netns=client.netns)
        assert said.startswith("error")
    assert "10.2.0.2" not in await one.arun("nft", "list", "ruleset", netns=client.netns)


async def test_udp_and_sctp_reach_the_backends_of_a_vip_too(world: World) -> None:
    """A VIP has every port of every protocol, and clients keep their address."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.2/24"))
    task = await world.task(two, "web0", (net, "10.1.0.10/24"), service=web)
    two.serve("udp", 5000, "web0", task.netns)
    client = await world.task(one, "client", (net, "10.1.0.20/24"))
    assert await one.ask("udp", "10.1.0.2", 5000, netns=client.netns) == ["web0 10.1.0.20"]
    if SCTP_CONNTRACK.exists():
        heard = await first_sctp_packet(one, "10.1.0.2", two, task.netns, sender=client.netns)
        assert heard == ["10.1.0.20", "5399", "1"]


async def test_a_standing_connection_outlives_scaling_and_updates(world: World) -> None:
    """Other backends come and go, its own leaves the rotation: it goes on until that one ends."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (net, "10.1.0.2/24"))
    await world.task(two, "web0", (net, "10.1.0.10/24"), service=web, serve=80)
    client = await world.task(one, "client", (net, "10.1.0.20/24"))

    def connect() -> socket.socket:
        home, inside = netns.open_own(), os.open(client.netns, os.O_RDONLY)
        try:
            with netns.inside(inside, home):
                made = socket.socket()
            made.settimeout(30)
            made.connect(("10.1.0.2", 80))
            return made
        finally:
            os.close(home)
            os.close(inside)

    channel = await asyncio.to_thread(in_thread, connect)

    def echoes() -> bytes:
        channel.sendall(b"hello\n")
        return channel.recv(100)

    with channel:
        assert await asyncio.to_thread(channel.recv, 100) == b"web0 10.1.0.20\n"
        assert await asyncio.to_thread(echoes) == b"hello\n"
        await world.task(one, "web1", (net, "10.1.0.11/24"), service=web, serve=80)
        assert await asyncio.to_thread(echoes) == b"hello\n"
        said = await one.ask("tcp", "10.1.0.2", 80, 2, netns=client.netns)
        assert sorted(said) == ["web0 10.1.0.20", "web1 10.1.0.20"]
        del world.endpoints[f"{net.id}/web1"]
        await world.tell()
        await one.network.delete_sandbox("web1")
        assert await asyncio.to_thread(echoes) == b"hello\n"
        world.change(f"{net.id}/web0", in_rotation=False)
        await world.tell()
        assert await asyncio.to_thread(echoes) == b"hello\n"
        for _ in range(10):  # what the kernel ends with the last backend, it ends a moment later
            await asyncio.sleep(0.1)
            assert await asyncio.to_thread(echoes) == b"hello\n"
