"""Which subnets a host reaches by ways of its own, as it tells the managers."""

from __future__ import annotations

import os
from pathlib import Path

from network_world import World, in_thread

from swarmlite.network import netns
from swarmlite.network.own_routes import MOST, own_routes
from swarmlite.proto.types_pb2 import HostRoute


async def test_a_host_tells_its_own_routes_and_not_swarmlite_s(world: World) -> None:
    """Of both families, connected ones and others; the default one leads everywhere."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    front = world.network("front", 4097, "10.1.0.0/24")
    await world.task(one, "t1", (front, "10.1.0.11/24"), (net, "10.0.0.11/24"))
    await world.task(two, "t2", (front, "10.1.0.12/24"))
    for command in (
        f"ip route add 10.20.0.0/16 via {two.address}",
        "ip route add blackhole 10.30.0.0/16",
        f"ip route add default via {two.address}",
        "ip -6 addr add fd99::1/64 dev eth0 nodad",
    ):
        one.run(*command.split())
    found = {(r.destination, r.interface) for r in in_thread(lambda: _inside(one.namespace))}
    bridge = {route for route in found if route[1] == "swarmlite-br"}
    assert found - bridge == {
        ("192.168.77.0/24", "eth0"),
        ("10.20.0.0/16", "eth0"),
        ("10.30.0.0/16", ""),
        ("fd99::/64", "eth0"),
    }
    for number in range(MOST):
        one.run("ip", "route", "add", f"10.40.{number}.0/24", "dev", "eth0")
    told = [route.destination for route in in_thread(lambda: _inside(one.namespace))]
    assert len(told) == MOST and "10.20.0.0/16" in told


def _inside(path: Path) -> list[HostRoute]:
    home, there = netns.open_own(), os.open(path, os.O_RDONLY)
    try:
        with netns.inside(there, home):
            return own_routes()
    finally:
        os.close(there)
        os.close(home)
