"""`NodeNetwork.check`: probes through real tunnels, and what is said where they fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from network_world import Host, World

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.network.checking.exchange import Exchange
from swarmlite.network.checking.frames import SMALL, Frame, pack, tag_of, unpack
from swarmlite.proto.control_pb2 import NetworkFindings, NetworkPeer, PeerFinding
from swarmlite.proto.objects_pb2 import Network

Found = dict[str, NetworkFindings]
BOUND_S = 45.0


async def two_hosts(world: World) -> tuple[Host, Host, Network]:
    one, two = await world.add_host(), await world.add_host()
    net = world.network("front", 4097, "10.1.0.0/24")
    await world.task(one, "t1", (net, "10.1.0.11/24"))
    await world.task(two, "t2", (net, "10.1.0.12/24"))
    return one, two, net


@contextlib.asynccontextmanager
async def checking(world: World, net: Network, name: str = "c1") -> AsyncIterator[Found]:
    """All hosts probe `net`; what each has said last."""
    nodes = [NetworkPeer(node_id=host.name, addr=host.address) for host in world.hosts]
    said: Found = {}

    async def follow(host: Host) -> None:
        async with contextlib.aclosing(host.network.checks.check(name, net.id, nodes)) as found:
            async for findings in found:
                said[host.name] = findings

    tasks = [asyncio.create_task(follow(host)) for host in world.hosts]
    try:
        yield said
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(r, asyncio.CancelledError) for r in results), results


async def until(holds: Callable[[], bool], said: Found) -> None:
    try:
        async with asyncio.timeout(BOUND_S):
            while not holds():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(said) from None


def of(said: Found, host: Host, other: Host) -> PeerFinding:
    found = said.get(host.name, NetworkFindings()).peers
    return next((p for p in found if p.node_id == other.name), PeerFinding())


def entries(host: Host) -> str:
    return host.run(
        "bridge", "fdb", "show", "dev", "vx0", netns=host.paths.netns_dir / "net-front-id"
    )


async def test_nodes_hear_each_other_in_full_and_nothing_stays(world: World) -> None:
    one, two, net = await two_hosts(world)
    before = entries(one)
    async with checking(world, net) as said:
        await until(lambda: of(said, one, two).heard_bytes == 1450, said)
        await until(lambda: of(said, two, one).heard_bytes == 1450, said)
        assert said["n1"].mtu == 1450
        assert not said["n1"].repairs
        assert "06:53" in entries(one)
    assert entries(one) == before
    with pytest.raises(FailedPrecondition, match="no part"):
        async for _ in one.network.checks.check("c2", net.id, []):
            raise AssertionError("a check without this node began")


async def test_the_rule_that_drops_is_named_on_the_host_that_has_it(world: World) -> None:
    """By its text where it is a rule, by its chain where it is a policy; the other way is well."""
    one, two, net = await two_hosts(world)
    two.run("nft", "table inet mine { chain in { type filter hook input priority 10; "
            f"ip saddr {one.address} udp dport 4789 counter drop; }}; }}")  # fmt: skip
    one.run("nft", "table inet closed { chain out { type filter hook output priority 10; policy "
            "drop; ip daddr != 192.168.77.2 accept; }; }")  # fmt: skip
    async with checking(world, net) as said:
        dropped = "dropped by the policy of table inet closed, chain out"
        await until(lambda: of(said, one, two).sending == dropped, said)
        assert of(said, two, one).heard_bytes == 0
        await until(lambda: of(said, one, two).heard_bytes == 1450, said)
        one.run("nft", "delete table inet closed")
        await until(lambda: "chain in" in of(said, two, one).arriving, said)
        arriving = of(said, two, one).arriving
        assert arriving.startswith("dropped by a rule of table inet mine, chain in: ip saddr")
        assert arriving.endswith("drop")
        assert of(said, two, one).arrived
        two.run("nft", "delete table inet mine")
        await until(lambda: of(said, two, one).heard_bytes == 1450, said)
    for host in (one, two):
        assert "swarmlite-trace" not in host.run("nft", "list tables")


async def test_two_checks_at_once_trace_beside_each_other(world: World) -> None:
    """Each by a table of its own; one that was left is removed at the start of the next agent."""
    one, two, net = await two_hosts(world)
    two.run("nft", "table inet closed { chain in { type filter hook input priority 10; policy "
            "drop; ip saddr != 192.168.77.1 accept; }; }")  # fmt: skip
    dropped = "dropped by the policy of table inet closed, chain in"

    def tables() -> int:
        return two.run("nft", "list tables").count("swarmlite-trace-")

    async with checking(world, net, "c2") as other:
        async with checking(world, net) as said:
            await until(lambda: of(said, two, one).arriving == dropped, said)
            await until(lambda: of(other, two, one).arriving == dropped, other)
            assert tables() == 2
        assert tables() == 1
    two.run("nft", "add table inet swarmlite-trace-left")
    await two.network.close()
    await two.start()
    assert tables() == 0


async def test_what_is_not_an_address_is_no_part_of_a_command(world: World) -> None:
    one, two, net = await two_hosts(world)
    for text in (f"{two.address} more", f"{two.address}\n", "host", ""):
        peers = [NetworkPeer(node_id="n1", addr=one.address), NetworkPeer(node_id="n2", addr=text)]
        with pytest.raises(InvalidSpec, match="is not an IP address"):
            async for _ in one.network.checks.check("c2", net.id, peers):
                raise AssertionError("a check with such a peer began")


async def test_the_largest_packet_that_gets_through_is_found(world: World) -> None:
    """A path with less than its ends say, by no word of which a sender hears."""
    one, two, net = await two_hosts(world)
    # 1300 bytes a packet outside are 1250 inside, and one way only.
    two.run("nft", "table inet narrow { chain in { type filter hook prerouting priority -400; "
            "udp dport 4789 meta length > 1300 drop; }; }")  # fmt: skip
    async with checking(world, net) as said:
        await until(lambda: of(said, two, one).heard_bytes == 1250, said)
        assert of(said, one, two).heard_bytes == 1450


async def test_a_host_without_a_way_says_so(world: World) -> None:
    one, two, net = await two_hosts(world)
    one.run("ip", "route", "add", "unreachable", f"{two.address}/32")
    async with checking(world, net) as said:
        await until(lambda: "no route to 192.168.77.2" in of(said, one, two).sending, said)
        await until(lambda: of(said, one, two).heard_bytes == 1450, said)
        assert not of(said, two, one).heard_bytes


async def test_what_was_wrong_on_a_node_is_repaired_and_told(world: World) -> None:
    one, _, net = await two_hosts(world)
    place = one.paths.netns_dir / f"net-{net.id}"
    one.run("bridge", "fdb", "del", "02:42:0a:01:00:0c", "dev", "vx0", "self", netns=place)
    async with checking(world, net) as said:
        await until(lambda: "n1" in said, said)
        assert list(said["n1"].repairs) == ["1 forwarding or neighbour entries set again"]


def test_the_largest_size_is_found_in_few_rounds() -> None:
    """Of any limit: what is larger is never heard, and the exchange settles on the limit."""
    for limit in (SMALL, 577, 1399, 1449):
        one, two = Exchange(0, [1], 1450), Exchange(1, [0], 1450)
        for _ in range(80):
            for sender, receiver in ((one, two), (two, one)):
                for frame in sender.round():
                    if frame.size <= limit:
                        receiver.heard(frame)
        assert two.heard_from(0) == limit


def test_a_frame_of_another_check_or_a_cut_one_is_none() -> None:
    tag = tag_of("one")
    sent = Frame(3, 4, 600, 64)
    assert unpack(tag, pack(tag, sent)) == sent
    assert unpack(tag_of("two"), pack(tag, sent)) is None
    assert unpack(tag, pack(tag, sent)[:-1]) is None
    assert unpack(tag, b"short") is None
    heard = Exchange(4, [3], 1450)
    assert not heard.heard(Frame(9, 4, 600, 64))
    assert not heard.heard(Frame(3, 5, 600, 64))
