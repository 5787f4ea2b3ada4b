"""The addresses that this host is known by to other nodes."""

from __future__ import annotations

import ipaddress

from swarmlite.network import netlink
from swarmlite.network.egress import BRIDGE
from swarmlite.network.host_table import INGRESS

MOST = 32
"""A host that has more tells the first."""


def own_addresses() -> list[str]:
    """IPv4 and IPv6, without those of loopback and of swarmlite's own interfaces.

    For a thread in the host's namespace. Raises OSError.
    """
    channel = netlink.Socket()
    try:
        links = channel.links()
        found = [*channel.addresses(), *channel.addresses6()]
    finally:
        channel.close()
    inner = {links[name].index for name in (BRIDGE, INGRESS) if name in links}
    inner.add(netlink.LOOPBACK)
    known = {ipaddress.ip_address(address) for index, address, _ in found if index not in inner}
    return sorted(map(str, known))[:MOST]
