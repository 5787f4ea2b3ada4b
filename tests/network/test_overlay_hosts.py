"""Containers of one network reach each other across hosts; those of others do not."""

from __future__ import annotations

from pathlib import Path

from network_world import World


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
