"""What the kernel answers to changes of ours: which one failed, and whose a change of rules was."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import resource
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from swarmlite.errors import FailedPrecondition
from swarmlite.network import host_table, netlink, netns, nft
from swarmlite.network.claims import Unclaimed, port_name
from swarmlite.network.rules import Rules, Wanted
from swarmlite.network.ruleset import Members, Table

TABLE = Table("ip own-changes", "set known { type ipv4_addr; }")


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[netns.Threads]:
    """Threads in a network namespace of their own."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    outer, path = netns.Threads(None, workers=1), tmp_path / "own.ns"
    namespace = asyncio.run(outer.run(lambda: netns.create(outer.host)))
    netns.pin(namespace, path)
    os.close(namespace)
    threads = netns.Threads(path)
    yield threads
    threads.close()
    outer.close()
    netns.unpin(path)


class Growing:
    """What is wanted is one address more each time."""

    def __init__(self) -> None:
        self._count = 0

    def wanted(self, without: Collection[str]) -> Wanted:
        self._count += 1
        known = frozenset(f"10.0.{n >> 8}.{n & 255}" for n in range(self._count * 500))
        return Wanted({TABLE: Members(sets={"known": known})})

    def owners(self) -> Mapping[str, bytes]:
        return {}


async def test_a_change_of_ours_that_is_on_its_way_is_nobody_elses(inside: netns.Threads) -> None:
    """It was taken for one, and all rules were loaded again while many containers started."""
    rules = Rules(inside, Growing())
    for _ in range(3):
        _, changed = await asyncio.gather(rules.refresh(), rules.changed_by_others())
        assert not changed
    await inside.run(_somebody_else)
    assert await rules.changed_by_others()


def _somebody_else() -> None:
    """Changes the namespace's rules, by a process of their own."""
    subprocess.run(
        ["nft", "add table ip somebody-elses; delete table ip somebody-elses"], check=True
    )


async def test_another_table_of_ours_is_nobody_elses(inside: netns.Threads) -> None:
    """That of the ingress, say: all rules were loaded again at the first look after it."""
    rules = Rules(inside, Growing())
    await rules.refresh()
    await inside.run(lambda: nft.run("add table ip another-of-ours\n"))
    assert not await rules.changed_by_others()


async def test_a_change_of_ours_hides_nobody_elses(inside: netns.Threads) -> None:
    """What somebody deleted a moment before a container started stayed away for good."""
    rules = Rules(inside, Growing())
    await rules.refresh()
    await inside.run(_somebody_else)
    await rules.refresh()
    await inside.run(lambda: nft.run("add table ip another-of-ours\n"))
    assert await rules.changed_by_others()
    await rules.refresh(force=True)
    assert not await rules.changed_by_others()


async def test_what_the_host_is_short_of_is_nobodys_fault(
    inside: netns.Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as what nft refuses is, and no part of the rules is left out for it."""
    rules = Rules(inside, Growing())
    await rules.refresh()

    def without_descriptors() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            nft.run("add table ip another-of-ours\n")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    words = "nftables could not be asked for a change: Too many open files"
    with pytest.raises(FailedPrecondition, match=words):
        await inside.run(without_descriptors)
    generation, failures = nft.Rules.generation, [OSError(errno.EMFILE, "Too many open files")]

    def once(self: nft.Rules) -> int:
        if failures:
            raise failures.pop()
        return generation(self)

    monkeypatch.setattr(nft.Rules, "generation", once)
    with pytest.raises(FailedPrecondition, match=words):
        await rules.refresh()
    assert rules.lost
    await rules.refresh()
    assert not rules.lost and not rules.refused()


async def test_a_batch_tells_its_first_failure_and_does_all_the_rest(inside: netns.Threads) -> None:
    """Only the last message is answered where none fails; a failure is, wherever it stands."""

    def work() -> None:
        channel = netlink.Socket(receive_bytes=0)
        try:
            up = netlink.set_link(netlink.LOOPBACK)
            no_link, no_address = netlink.delete_link("nothing"), netlink.set_link(4711)
            for batch in ([no_link, no_address, up], [up, no_link, no_address]):
                with pytest.raises(OSError, match="No such device") as failed:
                    channel.send(batch)
                assert failed.value.errno == errno.ENODEV
            address = netlink.add_address(netlink.LOOPBACK, "10.1.2.3", 32)
            channel.send([no_link, *[up] * 100, no_link, address], ignore=[errno.ENODEV])
            channel.send([up])
            assert "10.1.2.3" in [own for _, own, _ in channel.addresses()]
        finally:
            channel.close()

    await inside.run(work)


async def test_a_host_has_as_many_bridges_as_its_users_make(inside: netns.Threads) -> None:
    """Past a thousand of them the rules were refused as a whole: no container started."""
    names = frozenset(f'"br-{number:012x}"' for number in range(5000))
    members = Members(sets={"containers": names, "inside": names})
    four, six = ipaddress.IPv4Network("172.18.0.0/16"), ipaddress.IPv6Network("fd53:4c00::/96")
    for table in (
        host_table.table(four, 4789, [2377], "192.0.2.1"),
        host_table.table6(six, 4789, [2377]),
    ):
        text = table.load(members)
        await inside.run(lambda text=text: nft.run(text))  # type: ignore[misc]


class Enslaved(netlink.Socket):
    """One to whom the loopback, which nobody can delete, is a port of the bridge."""

    name, bridge = "", 0

    def links(self) -> dict[str, netlink.Link]:
        found = super().links()
        return found | {self.name: replace(found["lo"], name=self.name, master=self.bridge)}


async def test_only_ports_of_ours_go_and_one_that_the_kernel_keeps_stops_no_other(
    inside: netns.Threads, caplog: pytest.LogCaptureFixture
) -> None:
    """Others' on a bridge that an operator made stay, whatever they are called."""
    others = ["sl0", "slirp0", "slave1", "sl0123456789a", "sl012345678X"]
    claimed, unclaimed = port_name(), [port_name() for _ in range(3)]

    def work() -> None:
        channel = Enslaved()
        try:
            channel.send([netlink.make_bridge("br0", 1500)])
            channel.bridge, channel.name = channel.index("br0"), port_name()
            for number, name in enumerate([*others, claimed, *unclaimed]):
                make = netlink.make_veth(
                    name,
                    peer=f"peer{number}",
                    peer_namespace=inside.host,
                    mtu=1500,
                    peer_mac=bytes([2, 0, 0, 0, 0, number]),
                    bridge=channel.bridge,
                )
                channel.send([make])
            ports = Unclaimed()
            for _ in range(4):
                ports.let_go(channel, channel.links(), channel.bridge, lambda: [claimed])
            left = {n for n, link in channel.links().items() if link.master == channel.bridge}
            assert left == {*others, claimed, channel.name}
        finally:
            channel.close()

    await inside.run(work)
    (line,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert "Operation not supported" in line
