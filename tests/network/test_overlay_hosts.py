"""Containers of one network reach each other across hosts; those of others do not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from network_world import Host, World


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
