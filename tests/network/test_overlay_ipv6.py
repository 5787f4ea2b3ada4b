"""IPv6 on overlays, and networks of several subnets: addresses, VIPs and names on every host."""

from __future__ import annotations

import ipaddress
import os
import subprocess
from pathlib import Path

import pytest
from network_world import World, resolve

from swarmlite.network import host_table, ipv6
from swarmlite.network.dns import packet
from swarmlite.network.drivers import overlay
from swarmlite.network.ruleset import Members
from swarmlite.proto.objects_pb2 import Network

pytestmark = pytest.mark.skipif(
    not Path("/proc/net/if_inet6").exists(), reason="this kernel has no IPv6"
)


def dual(world: World, **spec: object) -> Network:
    net = world.network("front", 4097, "10.1.0.0/24", **spec)
    net.ipam.configs.add(subnet="fd01::/64")
    return net


def place(number: int) -> str:
    return f"10.1.0.{number}/24 fd01::{number}/64"


async def test_containers_reach_each_other_by_ipv6_on_one_host_and_across(world: World) -> None:
    """By their addresses, TCP and UDP; what is nowhere is refused or silent, and none floods."""
    one, two = await world.add_host(), await world.add_host()
    net = dual(world)
    client = await world.task(one, "t11", (net, place(11)))
    for number, host in ((12, one), (13, two)):
        task = await world.task(host, f"t{number}", (net, place(number)))
        for kind in ("tcp", "udp"):
            host.serve(kind, 80, f"t{number}", task.netns, six=True)
    for number in (12, 13):
        for kind in ("tcp", "udp"):
            said = await one.ask(kind, f"fd01::{number}", 80, netns=client.netns)
            assert said == [f"t{number} fd01::11"]
    (said4,) = await one.ask("tcp", "10.1.0.13", 80, netns=client.netns)
    assert said4.startswith("t13 ")
    (nobody,) = await one.ask("tcp", "fd01::77", 80, netns=client.netns)
    assert nobody.startswith("error")
    shown = await one.arun("ip", "-6", "addr", "show", "dev", "eth0", netns=client.netns)
    assert "fe80" not in shown and "fd01::11/128" in shown
    # The next one at an address is found, wherever it is.
    del world.endpoints[f"{net.id}/t13"]
    await world.tell()
    await two.network.delete_sandbox("t13")
    again = await world.task(one, "t13", (net, place(13)))
    one.serve("tcp", 80, "again", again.netns, six=True)
    assert await one.ask("tcp", "fd01::13", 80, netns=client.netns) == ["again fd01::11"]


async def test_a_service_has_a_vip_and_names_of_ipv6(world: World) -> None:
    """In turn; AAAA and PTR of services, tasks and addresses; none left: refused at once."""
    one, two = await world.add_host(), await world.add_host()
    net = dual(world)
    web = world.service("web", (net, "10.1.0.2/24"), (net, "fd01::2/64"))
    for number, host in ((11, one), (12, two)):
        task = await world.task(host, f"t{number}", (net, place(number)), service=web)
        host.serve("tcp", 80, f"t{number}", task.netns, six=True)
    client = await world.task(one, "client", (net, place(20)))
    said = await one.ask("tcp", "fd01::2", 80, 4, netns=client.netns)
    assert sorted(said) == ["t11 fd01::20"] * 2 + ["t12 fd01::20"] * 2
    assert (await resolve(one, client, "web", packet.AAAA)).addresses == ["fd01::2"]
    assert (await resolve(one, client, "web")).addresses == ["10.1.0.2"]
    tasks = await resolve(one, client, "tasks.web.front", packet.AAAA)
    assert sorted(tasks.addresses) == ["fd01::11", "fd01::12"]
    reverse = packet.reverse_name("fd01::2")
    name = ".".join(label.decode() for label in labels(reverse))
    found = await resolve(one, client, name, packet.PTR)
    assert found.addresses == [packet.wire_name("web").hex()]
    # A task of the service reaches its own VIP; whoever leaves the rotation gets nothing new.
    world.change(f"{net.id}/t12", in_rotation=False)
    await world.tell()
    _, own = world.sandboxes["t11"]
    assert await one.ask("tcp", "fd01::2", 80, 2, netns=own.netns) == ["t11 fd01::11"] * 2
    world.change(f"{net.id}/t11", in_rotation=False)
    await world.tell()
    assert await one.ask("tcp", "fd01::2", 80, netns=client.netns) == [
        "error ConnectionRefusedError"
    ]
    (said,) = await one.ask("udp", "fd01::2", 80, netns=client.netns)
    assert said.startswith("error")


def labels(name: bytes) -> list[bytes]:
    found, at = [], 0
    while name[at]:
        found.append(name[at + 1 : at + 1 + name[at]])
        at += name[at] + 1
    return found


async def test_ipv6_cannot_be_forged_and_is_repaired_and_adopted(world: World) -> None:
    """A foreign source stops at the bridge; a deleted bridge comes back; so does a new agent."""
    one, two = await world.add_host(), await world.add_host()
    net = dual(world)
    thief = await world.task(one, "t11", (net, place(11)))
    task = await world.task(two, "t12", (net, place(12)))
    two.serve("tcp", 80, "t12", task.netns, six=True)

    async def works() -> bool:
        return await one.ask("tcp", "fd01::12", 80, netns=thief.netns) == ["t12 fd01::11"]

    assert await works()
    route = ("fd01::/64", "via", "fe80::1", "dev", "eth0", "onlink")
    await one.arun("ip", "addr", "add", "fd01::99/128", "dev", "eth0", "nodad", netns=thief.netns)
    forged = ("ip", "-6", "route", "replace", *route, "src", "fd01::99")
    await one.arun(*forged, netns=thief.netns)
    assert (await one.ask("tcp", "fd01::12", 80, netns=thief.netns))[0].startswith("error")
    await one.arun("ip", "addr", "del", "fd01::99/128", "dev", "eth0", netns=thief.netns)
    await one.arun("ip", "-6", "route", "replace", *route, netns=thief.netns)
    assert await works()
    await one.network.close()
    await one.start()
    assert await works()
    await world.tell()
    await one.arun("ip", "link", "del", "br0", netns=one.paths.netns_dir / f"net-{net.id}")
    await one.network.reconcile()
    assert await works()


async def test_a_network_of_several_subnets_is_one_network(world: World) -> None:
    """Containers of each reach those of the others, and the VIPs, without a router."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    net.ipam.configs.add(subnet="10.2.0.0/16")
    web = world.service("web", (net, "10.1.0.2/24"))
    await world.task(two, "web0", (net, "10.2.7.12/16"), service=web, serve=80)
    client = await world.task(one, "client", (net, "10.1.0.20/24"))
    far = await world.task(one, "far", (net, "10.2.9.20/16"))
    assert await one.ask("tcp", "10.2.7.12", 80, netns=client.netns) == ["web0 10.1.0.20"]
    assert await one.ask("tcp", "10.1.0.2", 80, netns=client.netns) == ["web0 10.1.0.20"]
    assert await one.ask("tcp", "10.1.0.2", 80, netns=far.netns) == ["web0 10.2.9.20"]


@pytest.mark.parametrize("rules", ["overlay", "host", "host6"])
def test_rules_need_no_names_that_only_a_file_of_the_host_has(rules: str) -> None:
    """Debian without netbase, as in most containers, has no /etc/protocols, no /etc/services."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a mount namespace")
    subnet = ipaddress.IPv4Network("172.18.0.0/16")
    text = {
        "overlay": overlay._GUARD % {"vxlan": 1, "elements": "", "elements6": ""},
        "host": host_table.table(subnet, 4789, (2377, 2378), "192.0.2.1").load(Members()),
        "host6": host_table.table6(ipv6.egress_subnet(subnet), 4789, (2377, 2378)).load(Members()),
    }[rules]
    hide = "mount --bind /dev/null /etc/protocols && mount --bind /dev/null /etc/services"
    done = subprocess.run(
        ["unshare", "-mn", "sh", "-c", f"{hide} && exec nft -c -f -"],
        input=text,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
