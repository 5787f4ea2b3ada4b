"""The netfilter socket that a sandbox keeps: changes go by it, and it goes with the sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from swarmlite.errors import FailedPrecondition
from swarmlite.network import netns, nft, vip_table
from swarmlite.network.sandbox import SandboxWiring

VIP, BACKENDS = "10.0.0.2", ["10.0.0.3", "10.0.0.4"]


def is_closed(rules: nft.Rules) -> bool:
    nft.later.finish()
    return rules._channel._socket.fileno() == -1


@pytest.fixture
def inside() -> Iterator[ThreadPoolExecutor]:
    """A thread that may enter namespaces."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_changes_and_repairs_go_by_one_socket_that_is_closed_with_the_sandbox(
    inside: ThreadPoolExecutor,
) -> None:
    def work() -> None:
        host = netns.open_own()
        try:
            wiring, sockets = SandboxWiring.create(host, 0, {})
            kept = wiring._rules
            assert kept is not None
            for count in (1, 2):
                assert wiring.balance({VIP: BACKENDS[:count]})
                assert not wiring.repair()
            assert wiring._rules is kept and not is_closed(kept)
            for channel in sockets:
                channel.close()
            wiring.close()
            assert is_closed(kept)
        finally:
            os.close(host)

    inside.submit(work).result()


def test_a_change_that_is_refused_leaves_the_next_one_possible(inside: ThreadPoolExecutor) -> None:
    def work() -> None:
        host = netns.open_own()
        try:
            wiring, sockets = SandboxWiring.create(host, 0, {})
            with pytest.raises(FailedPrecondition):
                wiring._load(vip_table.change({"10.9.9.9": []}, {}, start=0))  # not there
            assert wiring.balance({VIP: BACKENDS})
            assert not wiring.repair()
            for channel in sockets:
                channel.close()
            wiring.close()
        finally:
            os.close(host)

    inside.submit(work).result()
