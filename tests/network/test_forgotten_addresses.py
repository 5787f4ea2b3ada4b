"""What is forgotten of ingress addresses that are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmlite.network import conntrack, ipv6
from swarmlite.network.host import HostWiring


class Threads:
    """Runs at once."""

    async def run(self, work: Callable[[], Any]) -> Any:
        return work()


@pytest.mark.parametrize("six", [True, False])
async def test_connections_of_both_families_are_cut(
    monkeypatch: pytest.MonkeyPatch, six: bool
) -> None:
    cut: list[str] = []

    def forget(addresses: Iterable[str]) -> None:
        cut.extend(addresses)

    monkeypatch.setattr(conntrack, "forget", forget)
    host = cast("HostWiring", SimpleNamespace(egress=SimpleNamespace(six=six), _threads=Threads()))
    gone = ["10.0.0.5", "10.0.0.6"]
    await HostWiring.forget(host, gone)
    assert cut == gone + [ipv6.ingress_address(a) for a in gone] * six
