"""Which subnets a network may be given, whoever makes it: the managers or one host."""

from __future__ import annotations

import ipaddress

from swarmlite.errors import InvalidSpec

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

OWN = {
    "fd53:4c00::/96": "containers' way out of their host",
    "fd53:4c02::/96": "published ports",
    "fd53:4c03::/96": "encrypted networks",
}
"""Prefixes of each node's own wiring, and what it has them for."""
_UNUSABLE = (
    "0.0.0.0/8",  # RFC 1122, section 3.2.1.3: this host
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::/8",  # RFC 4291, section 2.5.5: IPv4 in the form of IPv6, and loopback
    "fe80::/10",
    "ff00::/8",
)
"""Of this host, of one link and of many: RFC 6890, its tables."""


def parse(where: str, text: str) -> Subnet:
    """A CIDR without host bits. Raises InvalidSpec; `where`: the flag that gave it."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidSpec(f"{where}: {text[:60]!r} is not a CIDR such as 10.1.0.0/24") from error
    if "/" not in text:
        raise InvalidSpec(f"{where}: {text[:60]!r} is not a CIDR such as 10.1.0.0/24")
    if ipaddress.ip_interface(text).ip != found.network_address:
        raise InvalidSpec(f"{where} {text[:60]}: has host bits set, use {found}")
    return found


def of_hosts(text: str, where: str = "--subnet") -> Subnet:
    """As `parse`, for one whose addresses containers may have."""
    subnet = parse(where, text)
    if any(_overlap(subnet, other) for other in _UNUSABLE):
        raise InvalidSpec(f"{where} {subnet}: is not a range of host addresses")
    for own, use in OWN.items():
        if _overlap(subnet, own):
            raise InvalidSpec(f"{where} {subnet}: overlaps {own}, which nodes use for {use}")
    return subnet


def _overlap(one: Subnet, text: str) -> bool:
    other = ipaddress.ip_network(text)
    return one.version == other.version and one.overlaps(other)
