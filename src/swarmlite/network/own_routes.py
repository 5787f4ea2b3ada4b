"""What this host reaches by ways of its own: subnets that overlay networks had better not have."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import socket
import struct
from collections.abc import Iterator

from swarmlite.network import netlink
from swarmlite.network.egress import BRIDGE
from swarmlite.network.encryption.plan import DEVICE
from swarmlite.network.host_table import INGRESS
from swarmlite.network.netlink.constants import (
    GETROUTE,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_OIF,
    RTA_TABLE,
    RTN_UNICAST,
)
from swarmlite.proto.types_pb2 import HostRoute

MOST = 64
"""A host that has more tells the widest."""
MOST_READ = 2000
"""A router with all of the internet's routes reads no further."""
_INNER = frozenset({BRIDGE, INGRESS, DEVICE})
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


def own_routes() -> list[HostRoute]:
    """Of the main table, without default routes, loopback, link-local ones and swarmlite's own.

    For a thread in the host's namespace: at each heartbeat. Raises OSError.
    """
    found = set()
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.closing(netlink.Socket()) as channel:  # which may not be read to the end
            found |= {
                (subnet, name)
                for subnet, index in _read(channel, family)
                if (name := _name(index)) not in _INNER and _matters(subnet)
            }
    ordered = sorted(found, key=lambda route: (route[0].prefixlen, str(route[0]), route[1]))
    return [HostRoute(destination=str(subnet), interface=name) for subnet, name in ordered[:MOST]]


def _read(channel: netlink.Socket, family: int) -> Iterator[tuple[Subnet, int]]:
    """Destination and interface's index (0: none, as of a blackhole)."""
    head = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)
    for _, body in itertools.islice(channel.dump(GETROUTE, head), MOST_READ):
        _, length, _, _, table, _, _, kind = struct.unpack_from("=BBBBBBBB", body)
        values = netlink.attributes(body, 12)
        table = _number(values, RTA_TABLE) or table
        if table != RT_TABLE_MAIN or kind < RTN_UNICAST:
            continue
        packed = values.get(RTA_DST, b"")
        if packed:
            yield ipaddress.ip_network((packed, length)), _number(values, RTA_OIF)


def _number(values: dict[int, bytes], kind: int) -> int:
    return int(struct.unpack("=I", values[kind])[0]) if kind in values else 0


def _matters(subnet: Subnet) -> bool:
    return not (subnet.is_loopback or subnet.is_link_local or subnet.is_multicast)


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:  # it went this moment
        return ""
