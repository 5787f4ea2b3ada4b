"""What the kernel answers to changes of ours: which one failed, and whose a change of rules was."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

from swarmlite.errors import FailedPrecondition
from swarmlite.network import netlink, netns, nft
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
