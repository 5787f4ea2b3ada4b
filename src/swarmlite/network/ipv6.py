"""IPv6 of a host's way out and of the ingress: whether it is there, and its addresses.

Both are addresses of IPv4 in a prefix of swarmlite's own (RFC 4193), so nobody has to give, send or
keep them. That of the way out matters to its host only; that of a task on the ingress network is
the same on every node.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
from collections.abc import Iterable

from swarmlite.network import netns

log = logging.getLogger(__name__)
SMALLEST_MTU = 1280
"""RFC 8200, section 5: a smaller link has no IPv6."""
_EGRESS = int(ipaddress.IPv6Address("fd53:4c00::"))
_INGRESS = int(ipaddress.IPv6Address("fd53:4c02::"))
_MAPPED_BITS = 96


@functools.lru_cache(maxsize=65536)
def egress_address(address: str) -> str:
    """That of a container whose address on its host's way out is `address`."""
    return str(ipaddress.IPv6Address(_EGRESS | int(ipaddress.IPv4Address(address))))


@functools.lru_cache(maxsize=65536)
def ingress_address(address: str) -> str:
    """That of a task or node whose address on the ingress network is `address`."""
    return str(ipaddress.IPv6Address(_INGRESS | int(ipaddress.IPv4Address(address))))


def egress_subnet(subnet: ipaddress.IPv4Network) -> ipaddress.IPv6Network:
    """Of `egress_address` for all of `subnet`."""
    base = _EGRESS | int(subnet.network_address)
    return ipaddress.IPv6Network((base, _MAPPED_BITS + subnet.prefixlen))


def ingress_subnet(subnet: ipaddress.IPv4Network) -> ipaddress.IPv6Network:
    """Of `ingress_address` for all of `subnet`."""
    base = _INGRESS | int(subnet.network_address)
    return ipaddress.IPv6Network((base, _MAPPED_BITS + subnet.prefixlen))


def enabled() -> bool:
    """Whether the host has IPv6 and nobody switched it off for all interfaces.

    By a thread in the host's namespace.
    """
    return netns.has_ipv6() and netns.read_sysctl("ipv6/conf/all/disable_ipv6") == "0"


def forward(links: Iterable[str]) -> None:
    """Have the host forward IPv6. A host that forwards ignores routers' announcements, by which it
    may have its own address and way out: it goes on to hear them where it does now.
    """
    if netns.read_sysctl("ipv6/conf/all/forwarding") == "1":
        return
    for name in links:
        if netns.read_sysctl(f"ipv6/conf/{name}/accept_ra") == "1":
            netns.write_sysctl(f"ipv6/conf/{name}/accept_ra", "2")
    log.info("IPv6 forwarding is switched on: containers reach the network through this host")
    netns.write_sysctl("ipv6/conf/all/forwarding", "1")
