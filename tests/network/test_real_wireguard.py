"""Encrypted overlays by the kernel's own WireGuard; where there is none tests/vm runs them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from base64 import b64decode
from collections.abc import AsyncIterator

import pytest
from network_world import Host, World, in_thread
from pyroute2.netlink.generic.wireguard import WireGuard

from swarmlite.network import netns
from swarmlite.network.encryption import device
from swarmlite.network.encryption.plan import DEVICE, Peer
from swarmlite.proto.control_pb2 import NetworkPeer
from swarmlite.proto.objects_pb2 import Network
from swarmlite.testing.wiretap import SECRET, counts, watching


def missing() -> str:
    home = netns.open_own()
    try:
        return in_thread(lambda: device.hindrance(home))
    finally:
        os.close(home)


MISSING = missing()
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
    pytest.mark.timeout(900),  # on an emulated processor
]
OLD, NEW = bytes([7]) * 32, bytes([8]) * 32
NAME = SECRET.decode()


async def two_hosts(world: World) -> tuple[Host, Host, Network]:
    """A task on each, of which the second says its name to whoever connects."""
    one, two = await world.add_host(), await world.add_host()
    net = world.network("sealed", 4097, "10.1.0.0/24")
    net.spec.driver.options["encrypted"] = ""
    for host in (one, two):
        host.network.preshare(OLD)
    await world.task(one, "t1", (net, "10.1.0.11/24"))
    await world.task(two, NAME, (net, "10.1.0.12/24"), serve=80)
    world.tell_keys()
    await world.tell()
    return one, two, net


async def heard(world: World, address: str = "10.1.0.12", task: str = "t1") -> None:
    """Until it is answered: a handshake that was lost is tried again after 5 s."""
    host, sandbox = world.sandboxes[task]
    said = ""
    for _ in range(60):
        (said,) = await host.ask("tcp", address, 80, netns=sandbox.netns)
        if said.startswith(NAME):
            return
        await asyncio.sleep(1)
    raise AssertionError(said)


@contextlib.asynccontextmanager
async def tapped(world: World) -> AsyncIterator[list[int]]:
    """At its end: packets of WireGuard, of VXLAN, and those that could be read, on the LAN."""
    found: list[int] = []
    with watching(["nsenter", f"--net={world.lan}"]) as process:
        yield found
        found.extend(await asyncio.to_thread(counts, process))


def told(host: Host) -> tuple[dict[bytes, Peer], list[bytes], list[int]]:
    """What the kernel has: the peers, their preshared keys, and when each last shook hands."""
    home = netns.open_own()
    namespace = os.open(host.namespace, os.O_RDONLY)

    def ask() -> tuple[dict[bytes, Peer], list[bytes], list[int]]:
        with netns.inside(namespace, home), contextlib.closing(WireGuard()) as channel:
            parts = list(channel.info(DEVICE))
        every = [peer for part in parts for peer in part.get("WGDEVICE_A_PEERS") or ()]
        keys = [b64decode(peer.get("WGPEER_A_PRESHARED_KEY")) for peer in every]
        times = [peer.get("WGPEER_A_LAST_HANDSHAKE_TIME")["tv_sec"] for peer in every]
        return device.peers_of(parts), keys, times

    try:
        return in_thread(ask)
    finally:
        os.close(namespace)
        os.close(home)


async def test_what_is_carried_cannot_be_read(world: World) -> None:
    """What a plain network carries can: the test can tell."""
    one, two, _ = await two_hosts(world)
    async with tapped(world) as found:
        await heard(world)
    sealed, plain, read = found
    assert sealed and not plain and not read
    peers, keys, shaken = told(one)
    theirs = two.network.encrypting.describe().public_key
    assert peers == {theirs: Peer(theirs, two.address, 2383)}
    assert keys == [OLD] and all(shaken)
    clear = world.network("clear", 4098, "10.2.0.0/24")
    await world.task(one, "c1", (clear, "10.2.0.11/24"))
    await world.task(two, f"{NAME}2", (clear, "10.2.0.12/24"), serve=80)
    async with tapped(world) as found:
        await heard(world, "10.2.0.12", "c1")
    sealed, plain, read = found
    assert plain and read


async def test_packets_are_as_large_as_the_wire_lets_them_be(world: World) -> None:
    one, two, net = await two_hosts(world)
    await heard(world)
    nodes = [NetworkPeer(node_id=host.name, addr=host.address) for host in (one, two)]
    other = two.network.checks.check("c1", net.id, nodes)
    await anext(other)
    async for found in one.network.checks.check("c1", net.id, nodes):
        if found.peers[0].heard_bytes == 1370:
            break
    assert found.mtu == found.peers[0].heard_bytes == 1370
    await other.aclose()


async def test_another_preshared_key_is_taken_by_both_and_one_alone_is_not_heard(
    world: World,
) -> None:
    one, two, _ = await two_hosts(world)
    await heard(world)
    one.network.preshare(NEW)
    await one.network.settled()
    assert told(one)[1] == [NEW] and told(two)[1] == [OLD]
    await heard(world)  # what they agreed on holds for minutes
    two.network.preshare(NEW)
    await two.network.settled()
    assert told(two)[1] == [NEW]
    # From nothing: they shake hands by the new key.
    for host in (one, two):
        host.run("ip", "link", "del", DEVICE)
        await host.network.reconcile()
        assert told(host)[1] == [NEW]
    await heard(world)
    assert all(told(one)[2])


async def test_a_node_that_comes_back_with_another_key_is_reached(world: World) -> None:
    one, two, _ = await two_hosts(world)
    await heard(world)
    before = two.network.encrypting.describe().public_key
    await two.network.close()
    (two.paths.agent_dir / "network.keys").unlink()
    await two.start()
    two.network.preshare(OLD)
    world.tell_keys()
    await world.tell()
    after = two.network.encrypting.describe().public_key
    assert after != before
    assert set(told(one)[0]) == {after}
    await heard(world)


async def test_a_restart_of_the_agent_leaves_the_tunnel_as_it_is(world: World) -> None:
    one, two, _ = await two_hosts(world)
    await heard(world)
    before = told(one)
    await one.network.close()
    await one.start()
    await world.tell()
    await one.network.reconcile()
    assert told(one) == before
    await heard(world)
    for host, task in ((one, "t1"), (two, NAME)):
        await host.network.delete_sandbox(task)
    world.endpoints.clear()
    world.networks.clear()
    await world.tell()
    await one.network.reconcile()
    assert DEVICE not in one.run("ip", "link")
