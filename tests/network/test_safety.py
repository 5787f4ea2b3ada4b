"""What containers and strangers may not do: attack 17 of the list, and its neighbours."""

from __future__ import annotations

import asyncio
import sys

from network_world import World

from swarmlite.network import netns

FORGE = """
import socket, struct, sys
# A VXLAN packet that carries a UDP datagram from 10.1.0.66 to the container's port 9999.
vni, mac, to, target = int(sys.argv[1]), bytes.fromhex(sys.argv[2]), sys.argv[3], sys.argv[4]
body = struct.pack(">HHHH", 1, 9999, 12, 0) + b"evil"
ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, 17, 0)
ip += socket.inet_aton("10.1.0.66") + socket.inet_aton(to)
total = sum(struct.unpack(">10H", ip))
while total >> 16:
    total = (total & 0xffff) + (total >> 16)
ip = ip[:10] + struct.pack(">H", ~total & 0xffff) + ip[12:]
frame = mac + b"\\x02\\x42\\x0a\\x01\\0\\x42" + b"\\x08\\0" + ip + body
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(struct.pack(">II", 0x08000000, vni << 8) + frame, (target, 4789))
"""

RECEIVE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", int(sys.argv[1])))
s.settimeout(float(sys.argv[2]))
print("ready", flush=True)
try:
    print(s.recv(100).decode())
except TimeoutError:
    print("nothing")
"""


async def received(world: World, sender: str) -> str:
    """What a container gets of a packet that `sender` forged."""
    one = world.hosts[0]
    _, sandbox = world.sandboxes["t1"]
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net={sandbox.netns}", sys.executable, "-I", "-S", "-c", RECEIVE),
        *("9999", "1.5"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    mac = "02420a01000b"
    command = [sys.executable, "-I", "-S", "-c", FORGE, "4097", mac, "10.1.0.11", one.address]
    await one.arun(*command, netns=world.directory / sender)
    said = (await process.stdout.readline()).decode().strip()
    await process.wait()
    return said


async def test_forged_vxlan_from_no_member_is_dropped(world: World) -> None:
    """The same packet from a member's address arrives: the test can tell."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    await world.task(one, "t1", (net, "10.1.0.11/24"))
    await world.task(two, "t2", (net, "10.1.0.12/24"))
    await asyncio.to_thread(world.plug, "evil", "192.168.77.66")
    assert await received(world, "evil.ns") == "nothing"
    assert await received(world, "n2.ns") == "evil"


SEND = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for said, target in zip(sys.argv[1::2], sys.argv[2::2]):
    s.sendto(said.encode(), (target, 4789))
"""


async def test_tunnels_of_other_software_pass_where_no_address_of_the_host_is_meant(
    world: World,
) -> None:
    """A broadcast as it does without us; what a stranger sends to the host itself does not."""
    one = await world.add_host()
    await world.container(one, "any", "bridge")
    await asyncio.to_thread(world.plug, "evil", "192.168.77.66")
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net={one.namespace}", sys.executable, "-I", "-S", "-c", RECEIVE),
        *("4789", "30"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    words = ("to the host", one.address, "to all", "192.168.77.255")
    evil = world.directory / "evil.ns"
    # Once it knows the host's MAC address, they arrive in this order.
    assert await one.ask("tcp", one.address, 9, netns=evil) == ["error ConnectionRefusedError"]
    await one.arun(sys.executable, "-I", "-S", "-c", SEND, *words, netns=evil)
    assert await process.stdout.readline() == b"to all\n"
    await process.wait()


async def test_containers_reach_the_world_but_no_control_port_and_no_other_container(
    world: World,
) -> None:
    """Out by the host's address; 2377 of any node is refused; other containers' ways out drop."""
    one, two = await world.add_host(), await world.add_host()
    front = world.network("front", 4097, "10.1.0.0/24")
    back = world.network("back", 4098, "10.2.0.0/24")
    client = await world.task(one, "t1", (front, "10.1.0.11/24"))
    other = await world.task(one, "t2", (back, "10.2.0.12/24"), serve=80)
    await world.task(two, "t3", (front, "10.1.0.13/24"))
    two.serve("tcp", 8000, "far")
    for host in (one, two):
        host.serve("tcp", 2377, "manager")
    assert await one.ask("tcp", two.address, 8000, netns=client.netns) == ["far 192.168.77.1"]
    for address in (one.address, "172.18.0.1", two.address):
        (said,) = await one.ask("tcp", address, 2377, netns=client.netns)
        assert said.startswith("error"), address
    shown = await one.arun("ip", "-4", "-o", "addr", "show", "dev", "eth1", netns=other.netns)
    address = shown.split()[3].split("/")[0]
    (said,) = await one.ask("tcp", address, 80, netns=client.netns)
    assert said.startswith("error")
    # A node is not a router into other nodes' containers.
    await two.arun("ip", "route", "add", "172.18.9.0/24", "via", one.address)
    assert (await one.ask("tcp", "127.0.0.1", 2377)) == ["manager 127.0.0.1"]


async def test_what_a_cloud_tells_a_host_is_not_told_to_containers_of_the_swarm(
    world: World,
) -> None:
    """Its metadata, by either family; the host itself hears it, and names are asked for there."""
    one, two = await world.add_host(), await world.add_host()
    front = world.network("front", 4097, "10.1.0.0/24")
    task = await world.task(one, "t1", (front, "10.1.0.11/24"))
    addresses = ["169.254.169.254", "100.100.100.200"]
    if netns.has_ipv6():
        addresses.append("fd00:ec2::254")
        for host in (one, two):
            await host.arun("ip", "addr", "add", f"fd77::{host.name[1]}/64", "dev", "eth0", "nodad")
    for address in addresses:
        await two.arun("ip", "addr", "add", address, "dev", "lo")
        via = "fd77::2" if ":" in address else two.address
        await one.arun("ip", "route", "add", address, "via", via)
    for port in (80, 53):
        two.serve("tcp", port, "cloud", six=netns.has_ipv6())
    for address in addresses:
        assert (await one.ask("tcp", address, 80))[0].startswith("cloud")
        (said,) = await one.ask("tcp", address, 80, netns=task.netns)
        assert said == "error ConnectionRefusedError", address
        (said,) = await one.ask("tcp", address, 53, netns=task.netns)
        assert said.startswith("cloud"), address


async def test_an_internal_network_has_no_way_out(world: World) -> None:
    """No default route, no interface but its own."""
    one = await world.add_host()
    net = world.network("inner", 4097, "10.1.0.0/24", internal=True)
    inside = await world.task(one, "t1", (net, "10.1.0.11/24"))
    assert "default" not in await one.arun("ip", "route", netns=inside.netns)
    assert "eth1" not in await one.arun("ip", "link", netns=inside.netns)


async def test_a_container_cannot_take_anothers_address(world: World) -> None:
    """Frames with a foreign MAC or IP address stop at the bridge."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    thief = await world.task(one, "t1", (net, "10.1.0.11/24"))
    await world.task(two, "t2", (net, "10.1.0.12/24"), serve=80)
    assert await one.ask("tcp", "10.1.0.12", 80, netns=thief.netns) == ["t2 10.1.0.11"]
    await one.arun("ip", "addr", "add", "10.1.0.99/24", "dev", "eth0", netns=thief.netns)
    route = ("ip", "route", "add", "10.1.0.12", "dev", "eth0", "src", "10.1.0.99")
    await one.arun(*route, netns=thief.netns)
    assert (await one.ask("tcp", "10.1.0.12", 80, netns=thief.netns))[0].startswith("error")
    await one.arun("ip", "route", "del", "10.1.0.12", netns=thief.netns)
    await one.arun("ip", "link", "set", "eth0", "address", "02:42:0a:01:00:63", netns=thief.netns)
    assert (await one.ask("tcp", "10.1.0.12", 80, netns=thief.netns))[0].startswith("error")
