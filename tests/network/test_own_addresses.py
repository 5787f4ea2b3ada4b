"""What a host tells others of its addresses."""

from __future__ import annotations

import socket

import pytest

from swarmlite.network import netlink
from swarmlite.network.egress import BRIDGE
from swarmlite.network.host_table import INGRESS
from swarmlite.network.networks import BRIDGE_INTERFACE
from swarmlite.network.own_addresses import own_addresses

NAMES = {1: "lo", 2: "eth0", 3: BRIDGE, 4: INGRESS, 5: BRIDGE_INTERFACE}


class Channel:
    """A host's addresses, of which links are not to be listed."""

    def addresses(self) -> list[tuple[int, str, int]]:
        four = enumerate(("127.0.0.1", "192.0.2.7", "172.31.0.1", "10.0.0.2", "172.17.0.1"), 1)
        return [(index, address, 24) for index, address in four]

    def addresses6(self) -> list[tuple[int, str, int]]:
        return [(2, "2001:db8::7", 64), (4, "fd53:4c02::a00:2", 128), (9, "2001:db8::9", 64)]

    def close(self) -> None:
        pass


def test_a_hosts_addresses_are_those_of_others_interfaces_and_no_links_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With some hundred containers their list takes longer than an event loop may be held."""

    def name_of(index: int) -> str:
        if index not in NAMES:
            raise OSError(19, "No such device")
        return NAMES[index]

    monkeypatch.setattr(netlink, "Socket", Channel)
    monkeypatch.setattr(socket, "if_indextoname", name_of)
    assert own_addresses() == ["192.0.2.7", "2001:db8::7"]
