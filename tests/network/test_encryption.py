"""Encrypted overlays: the device's messages, the way of packets, and that nothing goes in clear.

This kernel may have no WireGuard. Where it has none a bridge on the hosts' LAN stands for the
device, so that the way there and back is real and only the cipher is not; what the kernel is told
and tells is encoded and decoded by pyroute2. tests/vm has the real one.
"""

from __future__ import annotations

import asyncio
import errno
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from network_world import Host, World, in_thread
from pyroute2.netlink.generic.wireguard import AsyncWireGuard, wgmsg

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.network import netlink, netns, nft
from swarmlite.network.encryption import device, keys, plan, wiring
from swarmlite.network.encryption.plan import DEVICE, Peer, added, changes, inner_address, peers
from swarmlite.network.view import View
from swarmlite.proto.control_pb2 import NetworkFindings, NetworkPeer
from swarmlite.proto.dispatcher_pb2 import Endpoint
from swarmlite.proto.objects_pb2 import Network

A, B = bytes([1]) * 32, bytes([2]) * 32
PSK, OTHER = bytes([8]) * 32, bytes([9]) * 32


class Kernel:
    """The WireGuard side of one namespace's kernel, as its netlink messages have it."""

    def __init__(self) -> None:
        self.private, self.port = b"", 0
        self.peers: dict[bytes, wgmsg.wgdevice_peer] = {}
        self.told = 0
        self.refuses = False

    def set(self, interface: str, **values: Any) -> None:
        assert interface == DEVICE
        if self.refuses:
            raise OSError(errno.ENOMEM, "no memory")
        if "peer" not in values:
            self.private, self.port = b64decode(values["private_key"]), values["listen_port"]
            return
        self.told += 1
        peer = sent(values["peer"])
        key = b64decode(peer.get_attr("WGPEER_A_PUBLIC_KEY"))
        if peer.get_attr("WGPEER_A_FLAGS") & 1:  # WGPEER_F_REMOVE_ME
            self.peers.pop(key, None)
        else:
            self.peers[key] = peer

    def info(self, interface: str) -> list[wgmsg]:
        made = wgmsg()
        made["attrs"] = [["WGDEVICE_A_IFNAME", interface], ["WGDEVICE_A_LISTEN_PORT", self.port]]
        if self.private:
            own = plan.text_of(keys.Keys(self.private).public)
            made["attrs"].append(["WGDEVICE_A_PUBLIC_KEY", own])
        if self.peers:
            made["attrs"].append(["WGDEVICE_A_PEERS", [_again(p) for p in self.peers.values()]])
        return [_decoded(made)]

    def close(self) -> None:
        """As the real one."""

    def preshared(self, key: bytes) -> bytes:
        return b64decode(self.peers[key].get_attr("WGPEER_A_PRESHARED_KEY"))


def sent(peer: dict[str, Any]) -> Any:
    """A peer as the kernel gets it: encoded by pyroute2, and decoded."""
    message = wgmsg()
    message["attrs"] = [["WGDEVICE_A_IFNAME", DEVICE]]
    AsyncWireGuard._wg_set_peer(object.__new__(AsyncWireGuard), message, peer)
    return _decoded(message).get_attr("WGDEVICE_A_PEERS")[0]


def _decoded(message: wgmsg) -> wgmsg:
    message.encode()
    found = wgmsg(message.data)
    found.decode()
    return found


def _again(peer: Any) -> dict[str, Any]:
    """What was decoded, to be encoded."""
    values = []
    for slot in peer["attrs"]:
        name, value = slot[0], slot[1]
        if name in ("WGPEER_A_PUBLIC_KEY", "WGPEER_A_PRESHARED_KEY"):
            values.append([name, value])
        elif name == "WGPEER_A_ENDPOINT":
            values.append([name, {"addr": value["addr"], "port": value["port"]}])
        elif name == "WGPEER_A_ALLOWEDIPS":
            ips = [dict(ip["attrs"]) for ip in value]
            packed = {"WGALLOWEDIP_A_IPADDR": lambda v: bytes.fromhex(v.replace(":", ""))}
            values.append(
                [
                    name,
                    [
                        {"attrs": [[k, packed.get(k, lambda v: v)(v)] for k, v in ip.items()]}
                        for ip in ips
                    ],
                ]
            )
    return {"attrs": values}


def test_a_peer_is_told_in_the_kernels_own_words() -> None:
    """Its key, where it is, the one address that it may send from, and the managers' key."""
    peer = sent(added(Peer(A, "192.0.2.7", 2383), PSK))
    assert b64decode(peer.get_attr("WGPEER_A_PUBLIC_KEY")) == A
    assert b64decode(peer.get_attr("WGPEER_A_PRESHARED_KEY")) == PSK
    end = peer.get_attr("WGPEER_A_ENDPOINT")
    assert (end["addr"], end["port"]) == ("192.0.2.7", 2383)
    assert peer.get_attr("WGPEER_A_FLAGS") == 2  # WGPEER_F_REPLACE_ALLOWEDIPS
    (allowed,) = peer.get_attr("WGPEER_A_ALLOWEDIPS")
    assert allowed["addr"] == "fd53:4c03::c000:207/128"
    bare = sent(added(Peer(A, "192.0.2.7", 2383), b""))
    assert bare.get_attr("WGPEER_A_PRESHARED_KEY") is None
    kernel = Kernel()
    kernel.set(DEVICE, peer=added(Peer(A, "192.0.2.7", 2383), PSK))
    assert device.peers_of(kernel.info(DEVICE)) == {A: Peer(A, "192.0.2.7", 2383)}
    assert device.peers_of(Kernel().info(DEVICE)) == {}


def test_a_node_with_another_key_gives_its_place_up_first() -> None:
    old, new = Peer(A, "192.0.2.7", 2383), Peer(B, "192.0.2.7", 2383)
    words = list(changes({A: old}, {B: new}, PSK, again=False))
    assert [w["public_key"] for w in words] == [plan.text_of(A), plan.text_of(B)]
    assert words[0]["remove"]
    assert not list(changes({B: new}, {B: new}, PSK, again=False))
    assert list(changes({B: new}, {B: new}, OTHER, again=True)) == [added(new, OTHER)]


def test_keys_are_made_once_and_stay_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "network.keys"
    made = keys.load(path)
    assert keys.load(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(made.public) == 32 and made.public != made.private
    keys.keep(path, keys.Keys(made.private, PSK))
    assert keys.load(path) == keys.Keys(made.private, PSK)
    path.write_bytes(b"short")
    assert keys.load(path) != made
    assert "private" not in repr(made)


def test_this_kernel_s_word_is_asked_for(threads: netns.Threads) -> None:
    said = in_thread(lambda: device.hindrance(threads.host))
    assert said == "" or said.startswith("the kernel has no WireGuard: kernel option CONFIG_WIRE")


def test_an_address_that_is_not_ipv4_is_nobodys_place() -> None:
    net, view = Network(id="n"), View("n1")
    net.spec.driver.options["encrypted"] = ""
    said = {
        name: Endpoint(id=name, network_id="n", node_id=name, node_addr=addr, node_key=key)
        for name, addr, key in (("a", "::1", A), ("b", "192.0.2.7", B), ("c", "", OTHER))
    }
    view.replace({"n": net}, said, {})
    assert list(peers(view)) == [B]


# two hosts
Kernels = Callable[[Host], Kernel]


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """A kernel for each host; its device is a bridge on the LAN."""
    found: dict[int, Kernel] = {}

    def here() -> Kernel:
        return found.setdefault(Path("/proc/thread-self/ns/net").stat().st_ino, Kernel())

    real = netlink.make_link
    monkeypatch.setattr(device, "_channel", here)
    monkeypatch.setattr(wiring, "hindrance", lambda _: "")
    monkeypatch.setattr(netlink, "make_link", lambda name, _, mtu: real(name, "bridge", mtu))
    return lambda host: found[host.namespace.stat().st_ino]


def encrypted(world: World, kernels: Kernels) -> Network:
    """A network of two hosts, with their keys in the endpoints."""
    net = world.network("sealed", 4097, "10.1.0.0/24")
    net.spec.driver.options["encrypted"] = ""
    return net


def joined(world: World) -> None:
    """What stands for the tunnel: the device is on the hosts' LAN, as a wire of its own.

    Who is where there is said by hand: WireGuard asks for no neighbours, and none gets through.
    """
    macs = {}
    for number, host in enumerate(world.hosts, 1):
        macs[host.name] = f"02:00:00:00:05:0{number}"
        if "seal0" not in host.run("ip", "link"):
            host.run("ip", "link", "add", "link", "eth0", "name", "seal0", "address",
                     macs[host.name], "type", "macvlan", "mode", "bridge")  # fmt: skip
        host.run("ip", "link", "set", "seal0", "master", DEVICE, "up")
        host.run("ip", "link", "set", DEVICE, "address", macs[host.name])
    for host in world.hosts:
        for other in world.hosts:
            host.run("ip", "neighbour", "replace", inner_address(other.address), "lladdr",
                     macs[other.name], "dev", DEVICE)  # fmt: skip


async def two_hosts(world: World, kernels: Kernels) -> tuple[Host, Host, Network]:
    one, two = await world.add_host(), await world.add_host()
    net = encrypted(world, kernels)
    for number, host in enumerate((one, two), 1):
        await world.task(host, f"t{number}", (net, f"10.1.0.1{number}/24"), serve=80)
    world.tell_keys()
    await world.tell()
    joined(world)
    return one, two, net


async def answers(world: World, task: str = "t1", of: str = "10.1.0.12") -> list[str]:
    host, sandbox = world.sandboxes[task]
    return await host.ask("tcp", of, 80, netns=sandbox.netns)


async def reached(
    world: World, task: str = "t1", of: str = "10.1.0.12", says: str = "t2 10.1.0.11"
) -> None:
    """Until the one is answered by the other: a busy machine takes its time."""
    async with asyncio.timeout(60):
        while (said := await answers(world, task, of)) != [says]:
            assert said[0].startswith("error"), said


async def test_an_encrypted_network_goes_through_the_device_only(
    world: World, kernels: Kernels
) -> None:
    """Peers by their keys; the tunnel's packets on no other interface; smaller packets."""
    one, two, net = await two_hosts(world, kernels)
    theirs = two.network.encrypting.describe()
    assert set(kernels(one).peers) == {theirs.public_key}
    assert kernels(one).port == theirs.port == 2383
    assert kernels(one).private != kernels(two).private
    await reached(world)
    own = inner_address(one.address)
    assert own in one.run("ip", "-6", "address", "show", "dev", DEVICE)
    place = one.paths.netns_dir / f"net-{net.id}"
    shown = one.run("ip", "-d", "link", "show", "vx0", netns=place)
    assert f"local {own}" in shown and "mtu 1370" in shown
    assert inner_address(two.address) in one.run("bridge", "fdb", "show", "dev", "vx0", netns=place)
    # Without the device nothing is sent, and within a repair it is there again.
    one.run("ip", "-6", "route", "add", "default", "dev", "eth0")
    one.run("nft", "table ip6 watch { counter clear { }; chain out { type filter hook postrouting "
            "priority 0; oifname eth0 udp dport 4789 counter name clear; }; }")  # fmt: skip
    one.run("ip", "link", "delete", DEVICE)
    assert (await answers(world))[0].startswith("error")
    assert "packets 0 " in one.run("nft", "list counters")
    await one.network.reconcile()
    joined(world)
    await reached(world)
    # A forged packet that comes by another way is no one's.
    assert f'iifname "{DEVICE}" drop' in one.run("nft", "list table ip6 swarmlite-encrypted")


async def test_the_managers_key_reaches_every_peer_and_a_gone_node_none(
    world: World, kernels: Kernels
) -> None:
    one, two, _ = await two_hosts(world, kernels)
    key = two.network.encrypting.describe().public_key
    for secret in (PSK, OTHER):
        one.network.preshare(secret)
        await one.network.settled()
        assert kernels(one).preshared(key) == secret
    told = kernels(one).told
    one.network.preshare(OTHER)
    await one.network.reconcile()
    assert kernels(one).told == told
    # It is kept: a daemon that starts anew tells it again, and makes nothing anew.
    await one.network.close()
    await one.start()
    await world.tell()
    assert kernels(one).preshared(key) == OTHER
    await reached(world)
    world.endpoints = {i: e for i, e in world.endpoints.items() if e.node_id == one.name}
    await world.tell()
    assert not kernels(one).peers
    assert peers(one.network._view) == {}


async def test_the_device_goes_with_the_last_encrypted_network(
    world: World, kernels: Kernels
) -> None:
    one, two, net = await two_hosts(world, kernels)
    for host, task in ((one, "t1"), (two, "t2")):
        await host.network.delete_sandbox(task)
    world.endpoints.clear()
    world.networks.clear()
    await world.tell()
    await one.network.reconcile()
    assert DEVICE not in one.run("ip", "link")
    assert "swarmlite-encrypted" not in one.run("nft", "list tables")
    assert f"net-{net.id}" not in [path.name for path in one.paths.netns_dir.iterdir()]
    await two.network.leave()
    assert DEVICE not in two.run("ip", "link")
    assert not (two.paths.agent_dir / "network.keys").exists()


async def test_a_check_probes_through_the_device(world: World, kernels: Kernels) -> None:
    one, two, net = await two_hosts(world, kernels)
    nodes = [NetworkPeer(node_id=host.name, addr=host.address) for host in (one, two)]
    other = two.network.checks.check("c1", net.id, nodes)
    await anext(other)
    async for found in one.network.checks.check("c1", net.id, nodes):
        assert isinstance(found, NetworkFindings)
        if found.peers[0].heard_bytes:
            break
    await other.aclose()


async def test_a_check_leaves_out_who_cannot_be_inside(world: World, kernels: Kernels) -> None:
    """A node whose data path is IPv6: the others are probed all the same."""
    one, two, net = await two_hosts(world, kernels)
    nodes = [NetworkPeer(node_id=host.name, addr=host.address) for host in (one, two)]
    nodes += [NetworkPeer(node_id="n3", addr="fd00::3"), NetworkPeer(node_id="n4")]
    other = two.network.checks.check("c1", net.id, nodes)
    await anext(other)
    async for found in one.network.checks.check("c1", net.id, nodes):
        assert [peer.node_id for peer in found.peers] == [two.name]
        if found.peers[0].heard_bytes:
            break
    await other.aclose()


@pytest.mark.parametrize(
    ("own", "error", "said"),
    [
        ("fd00::1", InvalidSpec, "its data path 'fd00::1' is not an IPv4 address, as encryption"),
        ("", FailedPrecondition, "takes no part"),
    ],
)
async def test_a_node_that_cannot_be_inside_says_so(
    world: World, kernels: Kernels, own: str, error: type[Exception], said: str
) -> None:
    one, two, net = await two_hosts(world, kernels)
    nodes = [
        NetworkPeer(node_id=one.name, addr=own),
        NetworkPeer(node_id=two.name, addr=two.address),
    ]
    with pytest.raises(error, match=said):
        await anext(one.network.checks.check("c1", net.id, nodes))


async def test_a_node_that_cannot_encrypt_sends_nothing_of_such_a_network(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "hindrance", lambda _: "the kernel has no WireGuard")
    one = await world.add_host()
    assert one.network.encrypting.describe().reason == "the kernel has no WireGuard"
    net = encrypted(world, lambda _: Kernel())
    with pytest.raises(FailedPrecondition, match="cannot be used here: the kernel has no Wire"):
        await world.task(one, "t1", (net, "10.1.0.11/24"))
    assert not one.network.sandboxes()
    assert "vxlan" not in one.run("ip", "-d", "link")


async def test_a_port_that_is_taken_is_a_reason(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "hindrance", lambda _: "")
    one = await world.add_host()
    one.serve("udp", 2383, "other")
    await one.network.close()
    await one.start()
    assert one.network.encrypting.describe().reason == "UDP port 2383 is taken on this host"


async def test_a_node_without_a_place_inside_stops_nobody(world: World, kernels: Kernels) -> None:
    """One whose key the managers leave out: nothing of it is led to whose address it says."""
    one, two, net = await two_hosts(world, kernels)
    theirs = two.network.encrypting.describe()
    world.endpoints["bad"] = Endpoint(
        id="bad", network_id=net.id, addr="10.1.0.50/24", node_id="x", node_addr=two.address
    )
    await world.tell()
    await one.network.reconcile()
    assert set(kernels(one).peers) == {theirs.public_key}
    place = one.paths.netns_dir / f"net-{net.id}"
    assert "02:42:0a:01:00:32" not in one.run("bridge", "fdb", "show", "dev", "vx0", netns=place)
    await reached(world)


async def test_what_fails_of_encryption_stops_no_other_network(
    world: World, kernels: Kernels
) -> None:
    one, two, _ = await two_hosts(world, kernels)
    plain = world.network("plain", 4098, "10.2.0.0/24")
    await world.task(one, "p1", (plain, "10.2.0.11/24"))
    kernels(one).refuses = True
    one.network.preshare(PSK)
    await world.task(two, "p2", (plain, "10.2.0.12/24"), serve=80)
    await one.network.settled()
    await reached(world, "p1", "10.2.0.12", "p2 10.2.0.11")
    one.run("ip", "link", "delete", "vx0", netns=one.paths.netns_dir / f"net-{plain.id}")
    with pytest.raises(FailedPrecondition, match=r"encryption of networks: .*no memory"):
        await one.network.reconcile()
    await reached(world, "p1", "10.2.0.12", "p2 10.2.0.11")
    kernels(one).refuses = False
    await one.network.reconcile()
    assert kernels(one).preshared(two.network.encrypting.describe().public_key) == PSK


async def test_what_is_as_it_should_be_costs_no_change_of_rules(
    world: World, kernels: Kernels
) -> None:
    """A guard that somebody deletes comes back; nobody's tables are loaded again without need."""
    one, _, _ = await two_hosts(world, kernels)
    await one.network.reconcile()

    def rules() -> str:
        return one.run("nft", "list", "ruleset")

    async def generation() -> int:
        return await one.network._threads.run(nft.generation)

    whole, before = rules(), await generation()
    for _ in range(2):
        await one.network.reconcile()
    assert await generation() == before
    one.run("nft", "delete", "table", "ip6", "swarmlite-encrypted")
    await one.network.reconcile()
    await one.network.reconcile()
    assert sorted(rules().splitlines()) == sorted(whole.splitlines())
    before = await generation()
    await one.network.reconcile()
    assert await generation() == before


async def test_a_device_that_is_half_made_is_mended(world: World, kernels: Kernels) -> None:
    """Down, with another key, or one that could not be filled: all of it is set again."""
    one, _, _ = await two_hosts(world, kernels)
    kernel, own = kernels(one), inner_address(one.address)
    private = kernel.private

    def whole() -> bool:
        shown = one.run("ip", "-6", "address", "show", "dev", DEVICE, "up")
        return own in shown and (kernel.private, kernel.port) == (private, 2383)

    one.run("ip", "link", "set", DEVICE, "down")
    await one.network.reconcile()
    assert whole()
    kernel.private, kernel.port = bytes(31) + b"\1", 7
    await one.network.reconcile()
    assert whole()
    kernel.refuses = True  # first: the host repairs on its own too
    kernel.private, kernel.port = b"", 0
    kernel.peers.clear()
    one.run("ip", "link", "delete", DEVICE)
    with pytest.raises(FailedPrecondition, match="no memory"):
        await one.network.reconcile()
    assert DEVICE not in one.run("ip", "link")
    kernel.refuses = False
    await one.network.reconcile()
    assert whole() and kernel.peers


async def test_the_managers_key_is_not_their_word_on_networks(
    world: World, kernels: Kernels
) -> None:
    """It comes before the assignments: what an earlier process left stays until these are here."""
    one, _, _ = await two_hosts(world, kernels)
    await one.network.close()
    (one.paths.agent_dir / "networks").unlink(missing_ok=True)
    await one.start()
    one.network.preshare(PSK)
    await one.network.settled()
    await one.network.reconcile()
    assert DEVICE in one.run("ip", "link")
    await reached(world)
