"""Containers of one network reach each other across hosts; those of others do not."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from pathlib import Path

import pytest
from network_world import Host, World

from swarmlite.network.api import SandboxRequest
from swarmlite.network.drivers.overlay import Overlay, Peers
from swarmlite.proto.types_pb2 import NetworkAttachment


async def test_containers_reach_each_other_across_hosts_by_address(world: World) -> None:
    """Both ways, and on one host too."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    first = await world.task(one, "t1", (net, "10.1.0.11/24"))
    second = await world.task(two, "t2", (net, "10.1.0.12/24"), serve=80)
    await world.task(one, "t3", (net, "10.1.0.13/24"), serve=80)
    assert first.netns == one.paths.netns_dir / "t1"
    assert first.hosts == [("10.1.0.11", "front")]
    assert "nameserver 127.0.0.11" in first.resolv_conf
    assert "ndots:0" in first.resolv_conf
    assert await one.ask("tcp", "10.1.0.12", 80, netns=first.netns) == ["t2 10.1.0.11"]
    assert await one.ask("tcp", "10.1.0.13", 80, netns=first.netns) == ["t3 10.1.0.11"]
    assert (
        "1 received"
        in await two.arun("ping", "-c1", "-W2", "10.1.0.11", netns=second.netns, check=False)
        or Path("/bin/ping").exists() is False
    )


BROADCAST = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.sendto(b"x", ("10.1.0.255", 9))
"""
COUNT = (
    "table inet seen { chain in { type filter hook prerouting priority -400; "
    "udp dport 4789 counter; }; }"
)
SHUT = "table inet shut { chain out { type filter hook output priority 0; udp dport 4789 drop; }; }"


async def test_nothing_floods_and_a_host_answers_for_addresses_elsewhere_itself(
    world: World,
) -> None:
    """Neither a broadcast nor a question for nobody's address reaches another host; a container's
    address is known with the tunnels shut.
    """
    one, two, three = [await world.add_host() for _ in range(3)]
    net = world.network("front", 4097, "10.1.0.0/24")
    client = await world.task(one, "t1", (net, "10.1.0.11/24"))
    await world.task(two, "t2", (net, "10.1.0.12/24"), serve=80)
    await world.task(three, "t3", (net, "10.1.0.13/24"))
    for host in (two, three):
        await host.arun("nft", COUNT)

    async def came(host: Host) -> int:
        (packets,) = re.findall(r"packets (\d+)", await host.arun("nft", "list table inet seen"))
        return int(packets)

    async def refused(address: str) -> bool:
        return (await one.ask("tcp", address, 80, netns=client.netns))[0].startswith("error")

    await one.arun(sys.executable, "-I", "-S", "-c", BROADCAST, netns=client.netns)
    assert await refused("10.1.0.99")
    await one.arun("nft", SHUT)
    assert await refused("10.1.0.12")
    known = await one.arun("ip", "neigh", "show", "10.1.0.12", netns=client.netns)
    assert "02:42:0a:01:00:0c" in known
    assert (await came(two), await came(three)) == (0, 0)
    await one.arun("nft", "delete table inet shut")
    assert not await refused("10.1.0.12")
    assert await came(two) > 0 and await came(three) == 0


async def test_endpoints_that_change_while_their_network_is_made_are_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that it was to begin with come to the kernel last, and were what it kept."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    goes = world._endpoint(net, "goes", "10.1.0.12/24", two)
    await world.tell()
    adopt, tell = Overlay.adopt_peers, Overlay.set_peers
    began, told = threading.Event(), threading.Event()

    def late(self: Overlay, peers: Peers, *, keep: bool = False) -> None:
        began.set()
        assert told.wait(60)
        adopt(self, peers, keep=keep)

    def noted(self: Overlay, peers: Peers) -> None:
        tell(self, peers)
        told.set()

    monkeypatch.setattr(Overlay, "adopt_peers", late)
    monkeypatch.setattr(Overlay, "set_peers", noted)
    place = NetworkAttachment(network_id=net.id, addresses=["10.1.0.11/24"])
    request = SandboxRequest(attachments=[place])
    making = asyncio.create_task(one.network.create_sandbox("t1", request))
    assert await asyncio.to_thread(began.wait, 60)
    del world.endpoints[goes.id]
    world._endpoint(net, "comes", "10.1.0.13/24", two)
    await world.tell(settle=False)
    await making
    overlay = one.paths.netns_dir / f"net-{net.id}"
    known = await one.arun("ip", "neigh", "show", "nud", "all", netns=overlay)
    assert "10.1.0.13" in known and "10.1.0.12" not in known
