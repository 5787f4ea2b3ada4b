"""Messages about links: making, changing and deleting them."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from swarmlite.network.netlink.attributes import Message, address_bytes, attribute, nested, text

from swarmlite.network.netlink.attributes import u8, u32  # isort: skip
from swarmlite.network.netlink.constants import (
    ADDR_GEN_MODE_NONE,
    AF_BRIDGE,
    BR_STATE_DISABLED,
    CREATE,
    DELLINK,
    EXCLUSIVE,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_AF_SPEC,
    IFLA_BR_MCAST_SNOOPING,
    IFLA_BRPORT_BCAST_FLOOD,
    IFLA_BRPORT_ISOLATED,
    IFLA_BRPORT_LEARNING,
    IFLA_BRPORT_LOCKED,
    IFLA_BRPORT_MCAST_FLOOD,
    IFLA_BRPORT_MODE,
    IFLA_BRPORT_NEIGH_SUPPRESS,
    IFLA_BRPORT_PROXYARP,
    IFLA_BRPORT_STATE,
    IFLA_BRPORT_UNICAST_FLOOD,
    IFLA_IFNAME,
    IFLA_INET6_ADDR_GEN_MODE,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    IFLA_PROTINFO,
    IFLA_VXLAN_ID,
    IFLA_VXLAN_LEARNING,
    IFLA_VXLAN_LOCAL,
    IFLA_VXLAN_LOCAL6,
    IFLA_VXLAN_PORT,
    IFLA_VXLAN_TTL,
    NESTED,
    NEWLINK,
    SETLINK,
    VETH_INFO_PEER,
)

_TUNNEL_TTL = 64


def link_head(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """struct ifinfomsg."""
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


def _name_or_index(link: str | int) -> tuple[int, bytes]:
    return (link, b"") if isinstance(link, int) else (0, text(IFLA_IFNAME, link))


def make_bridge(name: str, mtu: int, mac: bytes | None = None) -> Message:
    """A bridge, up, that neither learns multicast groups nor runs STP."""
    # Snooping's queries and timers cost a core at a thousand ports.
    data = nested(IFLA_INFO_DATA, u8(IFLA_BR_MCAST_SNOOPING, 0))
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"), data)
    hardware = attribute(IFLA_ADDRESS, mac) if mac else b""
    head = link_head(0, IFF_UP, IFF_UP)
    body = head + text(IFLA_IFNAME, name) + u32(IFLA_MTU, mtu) + hardware + info
    return NEWLINK, CREATE | EXCLUSIVE, body


def make_vxlan(name: str, *, vni: int, local: str, port: int, mtu: int, namespace: int) -> Message:
    """A VXLAN device in `namespace` whose UDP socket is in the sender's, without learning."""
    data = nested(
        IFLA_INFO_DATA,
        u32(IFLA_VXLAN_ID, vni),
        attribute(IFLA_VXLAN_LOCAL6 if ":" in local else IFLA_VXLAN_LOCAL, address_bytes(local)),
        u8(IFLA_VXLAN_TTL, _TUNNEL_TTL),
        u8(IFLA_VXLAN_LEARNING, 0),
        attribute(IFLA_VXLAN_PORT, struct.pack(">H", port)),
    )
    body = link_head() + text(IFLA_IFNAME, name) + u32(IFLA_MTU, mtu)
    body += u32(IFLA_NET_NS_FD, namespace)
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "vxlan"), data)
    return NEWLINK, CREATE | EXCLUSIVE, body + info


def make_link(name: str, kind: str, mtu: int) -> Message:
    """A device of a kind that needs no more to be said, down yet."""
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind))
    return (
        NEWLINK,
        CREATE | EXCLUSIVE,
        link_head() + text(IFLA_IFNAME, name) + u32(IFLA_MTU, mtu) + info,
    )


def make_veth(
    name: str,
    *,
    peer: str,
    peer_namespace: int,
    mtu: int,
    peer_mac: bytes,
    bridge: int = 0,
    mac: bytes | None = None,
    index: int = 0,
    peer_index: int = 0,
) -> Message:
    """A veth, down yet, a port of `bridge`, its peer in `peer_namespace`.

    Indexes are the kernel's choice when 0. Chosen by the caller, all that follows goes in the same
    batch: asking for one waits for the kernel's lock over all links (0.5 ms while others start).
    The peer's counts only beside the link's own; EEXIST or EBUSY: it is taken.
    """
    other = link_head(peer_index) + text(IFLA_IFNAME, peer) + u32(IFLA_MTU, mtu)
    other += attribute(IFLA_ADDRESS, peer_mac) + u32(IFLA_NET_NS_FD, peer_namespace)
    data = nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER | NESTED, other))
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), data)
    body = link_head(index) + text(IFLA_IFNAME, name) + u32(IFLA_MTU, mtu)
    body += attribute(IFLA_ADDRESS, mac) if mac else b""
    body += u32(IFLA_MASTER, bridge) if bridge else b""
    return NEWLINK, CREATE | EXCLUSIVE, body + info


@dataclass(frozen=True)
class PortFlags:
    """What a bridge port may do; nothing of it floods or learns."""

    proxy_arp: bool = False
    neigh_suppress: bool = False
    isolated: bool = False
    locked: bool = False
    flood: bool = False
    learning: bool = False
    hairpin: bool = False
    """Whether what came in by it may go out by it."""


def set_port(link: str | int, flags: PortFlags) -> Message:
    """Flags of a link that is a bridge's port."""
    index, name = _name_or_index(link)
    data = nested(
        IFLA_INFO_SLAVE_DATA,
        u8(IFLA_BRPORT_MODE, flags.hairpin),
        u8(IFLA_BRPORT_LEARNING, flags.learning),
        u8(IFLA_BRPORT_UNICAST_FLOOD, flags.flood),
        u8(IFLA_BRPORT_PROXYARP, flags.proxy_arp),
        u8(IFLA_BRPORT_MCAST_FLOOD, flags.flood),
        u8(IFLA_BRPORT_BCAST_FLOOD, flags.flood),
        u8(IFLA_BRPORT_NEIGH_SUPPRESS, flags.neigh_suppress),
        u8(IFLA_BRPORT_ISOLATED, flags.isolated),
        u8(IFLA_BRPORT_LOCKED, flags.locked),
    )
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_SLAVE_KIND, "bridge"), data)
    return NEWLINK, 0, link_head(index) + name + info


def close_port(index: int) -> Message:
    """Have a bridge take and give no frame by one of its ports any more.

    Said by the bridge's own message: after a link's the kernel opens a port with a carrier again.
    """
    state = nested(IFLA_PROTINFO, u8(IFLA_BRPORT_STATE, BR_STATE_DISABLED))
    return SETLINK, 0, struct.pack("=BxHiII", AF_BRIDGE, 0, index, 0, 0) + state


def set_link(
    link: str | int,
    *,
    up: bool = True,
    master: int | None = None,
    mtu: int | None = None,
) -> Message:
    """Bring a link up (or leave it), give it a bridge or a size."""
    index, name = _name_or_index(link)
    body = link_head(index, IFF_UP if up else 0, IFF_UP if up else 0) + name
    body += u32(IFLA_MASTER, master) if master is not None else b""
    body += u32(IFLA_MTU, mtu) if mtu is not None else b""
    return NEWLINK, 0, body


def no_ipv6(link: str | int) -> Message:
    """It gets no link-local address when it comes up: nothing is detected, solicited, announced.

    A message of its own, before the one that brings it up: the kernel takes the flags first.
    EAFNOSUPPORT: the link has no IPv6 to begin with, as below 1280 bytes or where the kernel was
    booted without.
    """
    index, name = _name_or_index(link)
    mode = u8(IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_MODE_NONE)
    return NEWLINK, 0, link_head(index) + name + nested(IFLA_AF_SPEC, nested(socket.AF_INET6, mode))


def delete_link(link: str | int) -> Message:
    """Take a link away."""
    index, name = _name_or_index(link)
    return DELLINK, 0, link_head(index) + name
