"""The addresses that this host is known by to other nodes."""

from __future__ import annotations

import ipaddress
import socket

from swarmlite.network import netlink
from swarmlite.network.egress import BRIDGE
from swarmlite.network.host_table import INGRESS
from swarmlite.network.networks import BRIDGE_INTERFACE

MOST = 32
"""A host that has more tells the first."""
_INNER = frozenset({BRIDGE, INGRESS, BRIDGE_INTERFACE})


def own_addresses() -> list[str]:
    """IPv4 and IPv6, without those of loopback and of swarmlite's own interfaces.

    For a thread in the host's namespace: at each heartbeat, so links are not listed, of which every
    container has some. Raises OSError.
    """
    channel = netlink.Socket()
    try:
        found = [*channel.addresses(), *channel.addresses6()]
    finally:
        channel.close()
    outer = {index for index, _, _ in found if index != netlink.LOOPBACK and _name(index)}
    known = {ipaddress.ip_address(address) for index, address, _ in found if index in outer}
    return sorted(map(str, known))[:MOST]


def _name(index: int) -> str:
    """That of an interface; nothing for one that is gone, or of swarmlite's own."""
    try:
        name = socket.if_indextoname(index)
    except OSError:
        return ""
    return "" if name in _INNER else name
