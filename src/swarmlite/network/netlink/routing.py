"""Messages about addresses, routes, rules, neighbours and forwarding entries."""

from __future__ import annotations

import socket
import struct

from swarmlite.network.netlink.attributes import (
    Message,
    address_bytes,
    attribute,
    family_of,
    u32,
)
from swarmlite.network.netlink.constants import (
    AF_BRIDGE,
    CREATE,
    DELADDR,
    DELNEIGH,
    DELROUTE,
    DELRULE,
    EXCLUSIVE,
    FR_ACT_TO_TBL,
    FRA_DST,
    FRA_FWMARK,
    FRA_FWMASK,
    FRA_PRIORITY,
    FRA_TABLE,
    IFA_ADDRESS,
    IFA_F_NODAD,
    IFA_LOCAL,
    NDA_DST,
    NDA_LLADDR,
    NEWADDR,
    NEWNEIGH,
    NEWROUTE,
    NEWRULE,
    NTF_MASTER,
    NTF_SELF,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_REACHABLE,
    REPLACE,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_TABLE,
    RTN_UNICAST,
    RTNH_F_ONLINK,
    RTPROT_STATIC,
)


def add_address(index: int, address: str, prefix: int) -> Message:
    """An address on a link; one that is there is no error. IPv6: usable at once."""
    return NEWADDR, CREATE | REPLACE, _address(index, address, prefix)


def delete_address(index: int, address: str, prefix: int) -> Message:
    """Take an address off a link."""
    return DELADDR, 0, _address(index, address, prefix)


def _address(index: int, address: str, prefix: int) -> bytes:
    packed, family = address_bytes(address), family_of(address)
    flags = IFA_F_NODAD if family == socket.AF_INET6 else 0
    body = struct.pack("=BBBBi", family, prefix, flags, 0, index)
    return body + attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)


def add_route(
    destination: str | None,
    prefix: int,
    *,
    oif: int,
    gateway: str | None = None,
    table: int = RT_TABLE_MAIN,
    on_link: bool = False,
    source: str | None = None,
    family: int = socket.AF_INET,
) -> Message:
    """A route (None: the default one), replacing one to the same place.

    `source`: the address that what is sent by it has, unless the sender chose one. `family`: of a
    route that neither a destination nor a gateway says it of.
    """
    body = _route(destination, prefix, oif, gateway, table, on_link, family)
    body += attribute(RTA_PREFSRC, address_bytes(source)) if source else b""
    return NEWROUTE, CREATE | REPLACE, body


def delete_route(
    destination: str | None,
    prefix: int,
    *,
    oif: int,
    gateway: str | None = None,
    family: int = socket.AF_INET,
) -> Message:
    """Take away what `add_route` made."""
    return DELROUTE, 0, _route(destination, prefix, oif, gateway, RT_TABLE_MAIN, False, family)


def _route(
    destination: str | None,
    prefix: int,
    oif: int,
    gateway: str | None,
    table: int,
    on_link: bool,
    family: int,
) -> bytes:
    family = family_of(gateway or destination or "") if gateway or destination else family
    scope = RT_SCOPE_UNIVERSE if gateway or family == socket.AF_INET6 else RT_SCOPE_LINK
    flags = RTNH_F_ONLINK if on_link else 0
    # A table above 255 stands in its attribute only.
    head = struct.pack(
        "=BBBBBBBBI", family, prefix, 0, 0, 0, RTPROT_STATIC, scope, RTN_UNICAST, flags
    )
    body = head + u32(RTA_TABLE, table) + u32(RTA_OIF, oif)
    body += attribute(RTA_DST, address_bytes(destination)) if destination else b""
    return body + (attribute(RTA_GATEWAY, address_bytes(gateway)) if gateway else b"")


def rule(
    *,
    table: int,
    priority: int,
    to: tuple[str, int] | None = None,
    mark: int = 0,
    mask: int = 0,
    delete: bool = False,
    family: int = socket.AF_INET,
) -> Message:
    """A routing rule by destination or by mark."""
    prefix = to[1] if to else 0
    head = struct.pack("=BBBBBBBBI", family, prefix, 0, 0, 0, 0, 0, FR_ACT_TO_TBL, 0)
    body = head + u32(FRA_TABLE, table) + u32(FRA_PRIORITY, priority)
    body += attribute(FRA_DST, address_bytes(to[0])) if to else b""
    body += u32(FRA_FWMARK, mark) + u32(FRA_FWMASK, mask) if mask else b""
    return (DELRULE, 0, body) if delete else (NEWRULE, CREATE | EXCLUSIVE, body)


def neighbour(index: int, address: str, mac: bytes, *, delete: bool = False) -> Message:
    """A permanent neighbour: `address` is at `mac`."""
    head = struct.pack("=BxHiHBB", family_of(address), 0, index, NUD_PERMANENT, 0, 0)
    body = head + attribute(NDA_DST, address_bytes(address)) + attribute(NDA_LLADDR, mac)
    return (DELNEIGH, 0, body) if delete else (NEWNEIGH, CREATE | REPLACE, body)


def forward(
    index: int, mac: bytes, *, to: str | None = None, delete: bool = False, own: bool = False
) -> Message:
    """A static forwarding entry of the bridge: `mac` is behind port `index`.

    With `to` the port is a VXLAN device, and its own table says at which host. `own`: only that
    table, not the bridge's.
    """
    flags = NTF_SELF if own else NTF_MASTER | (NTF_SELF if to else 0)
    # Static in both tables: the bridge asks for NOARP, VXLAN for REACHABLE and does not age NOARP.
    state = NUD_NOARP | NUD_REACHABLE
    head = struct.pack("=BxHiHBB", AF_BRIDGE, 0, index, state, flags, 0)
    body = head + attribute(NDA_LLADDR, mac)
    body += attribute(NDA_DST, address_bytes(to)) if to else b""
    return (DELNEIGH, 0, body) if delete else (NEWNEIGH, CREATE | REPLACE, body)


def probed(index: int, mac: bytes, *, to: str, delete: bool = False) -> Message:
    """As `forward`, in the VXLAN device's own table, and gone by its age if nobody deletes it."""
    head = struct.pack("=BxHiHBB", AF_BRIDGE, 0, index, NUD_REACHABLE, NTF_SELF, 0)
    body = head + attribute(NDA_LLADDR, mac) + attribute(NDA_DST, address_bytes(to))
    return (DELNEIGH, 0, body) if delete else (NEWNEIGH, CREATE | REPLACE, body)


def route_to(address: str) -> bytes:
    """The body of a question (GETROUTE) by which way an address is reached."""
    packed, family = address_bytes(address), family_of(address)
    head = struct.pack("=BBBBBBBBI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    return head + attribute(RTA_DST, packed)
