"""What happens to hosts and their links while networks are used."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from network_world import Host, World, outside, resolve

from swarmlite.network.dns import forward
from swarmlite.proto.types_pb2 import PortConfig


async def sizes(host: Host, where: Path | None = None) -> dict[str, int]:
    """The interfaces of a namespace and how much a packet of each holds."""
    shown = await host.arun("ip", "-o", "link", netns=where)
    words = [line.split() for line in shown.splitlines()]
    return {w[1].rstrip(":").partition("@")[0]: int(w[w.index("mtu") + 1]) for w in words}


async def test_the_size_of_packets_follows_the_data_path(world: World) -> None:
    """Smaller and larger: of the overlay, the ingress, the way out, and inside of containers; a
    size that a network was given stays.
    """
    one, two = await world.add_host(), await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    front = world.network("front", 4097, "10.1.0.0/24")
    fixed = world.network("fixed", 4098, "10.2.0.0/24")
    fixed.spec.driver.options["com.docker.network.driver.mtu"] = "1300"
    web = world.service("web")
    web.ingress_ports.add(protocol=PortConfig.TCP, target_port=80, published_port=8080)
    places = [(front, "10.1.0.10/24"), (fixed, "10.2.0.10/24"), (ingress, "10.0.0.10/24")]
    task = await world.task(one, "web0", *places, service=web, serve=80)
    for size in (1400, 1500):
        await one.arun("ip", "link", "set", "eth0", "mtu", str(size))
        await one.network.reconcile()
        inside, host = await sizes(one, task.netns), await sizes(one)
        assert (inside["eth0"], inside["eth1"], inside["eth2"]) == (size - 50, 1300, size)
        assert (host["swarmlite-in"], host["swarmlite0"]) == (size - 50, size)
        assert (await two.ask("tcp", one.address, 8080))[0].startswith("web0")


async def test_connection_tracking_that_fills_is_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("swarmlite.network.node.RECONCILE_S", 3600.0)  # only when it is asked
    one = await world.add_host()
    await world.container(one, "plain", "bridge")
    await one.network.reconcile()
    assert one.network.warnings() == []
    if not Path("/proc/sys/net/netfilter/nf_conntrack_max").exists():
        pytest.skip("this kernel does not say how many connections it tracks")
    monkeypatch.setattr("swarmlite.network.tracked.FULL_SHARE", 1e-12)
    await one.arun("ping", "-c", "1", "-W", "1", one.address, check=False)
    await one.network.reconcile()
    await one.network.reconcile()
    (warning,) = one.network.warnings()
    assert warning.startswith("connection tracking is nearly full, ")
    assert sum("connection tracking" in r.message for r in caplog.records) == 1
    monkeypatch.undo()
    await one.network.reconcile()
    assert one.network.warnings() == []


async def test_a_vip_is_fair_whoever_asks(world: World) -> None:
    """Chi-square over 5 backends and 6 clients with 50 connections each: p above a thousandth."""
    one, two = await world.add_host(), await world.add_host()
    front = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (front, "10.1.0.100/24"))
    for number in range(5):
        host = (one, two)[number % 2]
        place = (front, f"10.1.0.{10 + number}/24")
        await world.task(host, f"web{number}", place, service=web, serve=80)
    clients = [
        await world.task((one, two)[n % 2], f"client{n}", (front, f"10.1.0.{50 + n}/24"))
        for n in range(6)
    ]
    said: Counter[str] = Counter()
    for number, client in enumerate(clients):
        host = (one, two)[number % 2]
        said.update(
            line.split()[0]
            for line in await host.ask("tcp", "10.1.0.100", 80, 53, netns=client.netns)
        )
    expected = said.total() / 5
    assert said.total() == 6 * 53 and "error" not in said
    chi_square = sum((count - expected) ** 2 / expected for count in said.values())
    assert len(said) == 5 and chi_square < 18.47, said  # 4 degrees of freedom


IDLE = """
import socket, sys
s = socket.create_connection((sys.argv[1], 80), 5)
s.settimeout(20)
print(s.recv(100).decode().split()[0], flush=True)
sys.stdin.readline()
s.sendall(b"again")
print(s.recv(100).decode(), flush=True)
"""


async def test_an_idle_connection_is_not_cut(world: World) -> None:
    """Through a VIP and through the ingress: its entry lives for days, not for Swarm's minutes."""
    one, two = await world.add_host(), await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    front = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (front, "10.1.0.100/24"))
    web.ingress_ports.add(protocol=PortConfig.TCP, target_port=80, published_port=80)
    places = [(front, "10.1.0.10/24"), (ingress, "10.0.0.10/24")]
    await world.task(two, "web0", *places, service=web, serve=80)
    client = await world.task(one, "client", (front, "10.1.0.20/24"))
    far = await outside(world)
    asked = [(one, client.netns, "10.1.0.100"), (far, far.namespace, one.address)]
    processes = [
        await asyncio.create_subprocess_exec(
            "nsenter", f"--net={where}", sys.executable, "-I", "-S", "-c", IDLE, target,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for _, where, target in asked
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert (await process.stdout.readline()).strip() == b"web0"
    for host, where in ((one, client.netns), (one, one.namespace)):
        name = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"
        assert int(await host.arun("cat", name, netns=where)) >= 86400
    await one.network.reconcile()
    world.change(f"{front.id}/web0", hostname="renamed")  # the map is worked out again
    await world.tell()
    for process in processes:
        said, _ = await process.communicate(b"\n")
        assert said.decode().split()[-1] == "again"


async def test_a_host_that_comes_back_with_anothers_address_is_found_there(world: World) -> None:
    """A node is gone; another, of another id, has its address: old entries lead nobody astray."""
    one, two = await world.add_host(), await world.add_host()
    front = world.network("front", 4097, "10.1.0.0/24")
    first = await world.task(one, "client", (front, "10.1.0.20/24"))
    await world.task(two, "old", (front, "10.1.0.10/24"), serve=80)
    assert (await one.ask("tcp", "10.1.0.10", 80, netns=first.netns))[0].startswith("old")
    two.stop()
    await two.network.teardown()
    await two.network.close()
    world.hosts.remove(two)
    del world.endpoints[f"{front.id}/old"]
    again = Host("n3", two.address, two.namespace, two.paths)
    world.hosts.append(again)
    await again.start()
    await world.task(again, "new", (front, "10.1.0.11/24"), serve=80)
    assert (await one.ask("tcp", "10.1.0.11", 80, netns=first.netns))[0].startswith("new")
    (said,) = await one.ask("tcp", "10.1.0.10", 80, netns=first.netns)
    assert said.startswith("error")


async def test_a_link_that_flaps_leaves_all_as_it_was(world: World) -> None:
    one, two = await world.add_host(), await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    front = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (front, "10.1.0.100/24"))
    web.ingress_ports.add(protocol=PortConfig.TCP, target_port=80, published_port=8080)
    places = [(front, "10.1.0.10/24"), (ingress, "10.0.0.10/24")]
    await world.task(two, "web0", *places, service=web, serve=80)
    client = await world.task(one, "client", (front, "10.1.0.20/24"))
    for _ in range(5):
        for state in ("down", "up"):
            await two.arun("ip", "link", "set", "eth0", state)
        await two.network.reconcile()
        await one.network.reconcile()
    for _ in range(30):  # until the bridge between the hosts forwards to it again
        said = await one.ask("tcp", "10.1.0.100", 80, netns=client.netns)
        if said[0].startswith("web0"):
            break
    assert said[0].startswith("web0")
    assert (await one.ask("tcp", one.address, 8080))[0].startswith("web0")


async def test_a_link_that_delays_each_packet_makes_answers_late_only(world: World) -> None:
    """By a line of 16 kbit/s, on which a small packet takes some 60 ms: VIP and mesh."""
    one, two = await world.add_host(), await world.add_host()
    line = ("tbf", "rate", "16kbit", "burst", "1600", "latency", "4s")
    await one.arun("tc", "qdisc", "add", "dev", "lo", "root", *line, check=False)
    if "tbf" not in await one.arun("tc", "qdisc", "show", "dev", "lo"):
        pytest.skip("this host's kernel has no tbf to delay packets with")
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    front = world.network("front", 4097, "10.1.0.0/24")
    web = world.service("web", (front, "10.1.0.100/24"))
    web.ingress_ports.add(protocol=PortConfig.TCP, target_port=80, published_port=8080)
    places = [(front, "10.1.0.10/24"), (ingress, "10.0.0.10/24")]
    await world.task(two, "web0", *places, service=web, serve=80)
    client = await world.task(one, "client", (front, "10.1.0.20/24"))

    async def answers() -> list[str]:
        by_vip = await one.ask("tcp", "10.1.0.100", 80, 2, client.netns)
        return [*by_vip, *await one.ask("tcp", one.address, 8080, 2)]

    for host in (one, two):
        await host.arun("tc", "qdisc", "add", "dev", "eth0", "root", *line)
    begun = time.monotonic()
    assert all(said.startswith("web0") for said in await answers())
    assert time.monotonic() - begun > 0.2  # else nothing was late
    await one.network.reconcile()
    for host in (one, two):
        await host.arun("tc", "qdisc", "del", "dev", "eth0", "root")
    assert all(said.startswith("web0") for said in await answers())


async def test_the_hosts_resolvers_are_followed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the host's resolv.conf counts for containers that run."""
    conf = tmp_path / "resolv.conf"
    monkeypatch.setattr(
        "swarmlite.network.resolvers.host_resolvers", lambda: forward.host_resolvers(conf)
    )
    monkeypatch.setattr("swarmlite.network.resolvers.RESOLVERS_TTL_S", -1.0)
    one = await world.add_host()
    front = world.network("front", 4097, "10.1.0.0/24")
    client = await world.task(one, "client", (front, "10.1.0.20/24"))
    for server, answer in (("127.0.0.54", "203.0.113.1"), ("127.0.0.55", "203.0.113.2")):
        one.serve_dns(server, answer)
        conf.write_text(f"nameserver {server}\n")
        assert (await resolve(one, client, f"x{answer}.example")).addresses == [answer]
