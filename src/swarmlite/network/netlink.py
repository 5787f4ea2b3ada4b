"""Raw rtnetlink: the few messages that wire a host, and a socket that sends them in batches.

Hand-packed because this is the hot path: one message makes a veth, its peer in another namespace
and the bridge port at once, and a batch of them costs one system call each way. Source:
rtnetlink(7), linux/if_link.h, linux/neighbour.h.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

REQUEST, ACK, REPLACE, EXCLUSIVE, CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
DUMP = 0x300
NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, GETADDR = 20, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NEWRULE, DELRULE = 32, 33
NLMSG_ERROR, NLMSG_DONE = 2, 3
BATCH_BEGIN, BATCH_END = 16, 17
NESTED = 0x8000
IFF_UP = 1
AF_BRIDGE = 7
NTF_SELF, NTF_MASTER = 0x02, 0x04
NUD_PERMANENT, NUD_NOARP, NUD_REACHABLE = 0x80, 0x40, 0x02
BATCH = 64
"""Messages sent before their answers are read; more could overrun the receive buffer."""

Message = tuple[int, int, bytes]
"""Type, flags beside REQUEST, and the body."""


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded."""
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + b"\0" * (-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def u8(kind: int, value: int) -> bytes:
    """An attribute of one byte."""
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    """An attribute of four bytes, the host's order."""
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    """An attribute with a terminated string."""
    return attribute(kind, value.encode() + b"\0")


def mac_bytes(mac: str) -> bytes:
    """The six bytes of aa:bb:cc:dd:ee:ff. Raises ValueError."""
    data = bytes.fromhex(mac.replace(":", ""))
    if len(data) != 6:
        raise ValueError(f"{mac!r} is not a MAC address")
    return data


def mac_text(data: bytes) -> str:
    """aa:bb:cc:dd:ee:ff."""
    return data.hex(":")


def address_bytes(address: str) -> bytes:
    """The four bytes of an IPv4 address. Raises OSError."""
    return socket.inet_aton(address)


LOOPBACK = 1
"""The index of `lo`, the first link of every namespace."""


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


def _name_or_index(link: str | int) -> tuple[int, bytes]:
    return (link, b"") if isinstance(link, int) else (0, text(3, link))


def make_bridge(name: str, mtu: int, mac: bytes | None = None) -> Message:
    """A bridge, up, that neither learns multicast groups nor runs STP."""
    # IFLA_BR_MCAST_SNOOPING 23: queries and timers cost a core at a thousand ports.
    info = nested(18, text(1, "bridge"), nested(2, u8(23, 0)))
    hardware = attribute(1, mac) if mac else b""
    body = _link(0, IFF_UP, IFF_UP) + text(3, name) + u32(4, mtu) + hardware + info
    return NEWLINK, CREATE | EXCLUSIVE, body


def make_vxlan(name: str, *, vni: int, local: str, port: int, mtu: int, namespace: int) -> Message:
    """A VXLAN device in `namespace` whose UDP socket is in the sender's, without learning."""
    data = nested(
        2,
        u32(1, vni),
        attribute(4, address_bytes(local)),
        u8(5, 64),  # IFLA_VXLAN_TTL
        u8(7, 0),  # IFLA_VXLAN_LEARNING
        attribute(15, struct.pack(">H", port)),
    )
    body = _link() + text(3, name) + u32(4, mtu) + u32(28, namespace)
    return NEWLINK, CREATE | EXCLUSIVE, body + nested(18, text(1, "vxlan"), data)


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
    other = _link(peer_index) + text(3, peer) + u32(4, mtu) + attribute(1, peer_mac)
    other += u32(28, peer_namespace)
    info = nested(18, text(1, "veth"), nested(2, attribute(1 | NESTED, other)))
    body = _link(index) + text(3, name) + u32(4, mtu)
    body += attribute(1, mac) if mac else b""
    body += u32(10, bridge) if bridge else b""
    return NEWLINK, CREATE | EXCLUSIVE, body + info


@dataclass(frozen=True)
class PortFlags:
    """What a bridge port may do; nothing of it floods or learns."""

    proxy_arp: bool = False
    neigh_suppress: bool = False
    isolated: bool = False
    locked: bool = False
    flood: bool = False


def set_port(link: str | int, flags: PortFlags) -> Message:
    """Flags of a link that is a bridge's port."""
    index, name = _name_or_index(link)
    flood = flags.flood
    data = nested(
        5,  # IFLA_INFO_SLAVE_DATA
        u8(8, 0),  # IFLA_BRPORT_LEARNING
        u8(9, flood),  # UNICAST_FLOOD
        u8(10, flags.proxy_arp),  # PROXYARP
        u8(27, flood),  # MCAST_FLOOD
        u8(30, flood),  # BCAST_FLOOD
        u8(32, flags.neigh_suppress),  # NEIGH_SUPPRESS
        u8(33, flags.isolated),  # ISOLATED
        u8(39, flags.locked),  # LOCKED
    )
    return NEWLINK, 0, _link(index) + name + nested(18, text(4, "bridge"), data)


def set_link(
    link: str | int,
    *,
    up: bool = True,
    master: int | None = None,
    mtu: int | None = None,
) -> Message:
    """Bring a link up (or leave it), give it a bridge or a size."""
    index, name = _name_or_index(link)
    body = _link(index, IFF_UP if up else 0, IFF_UP if up else 0) + name
    body += u32(10, master) if master is not None else b""
    body += u32(4, mtu) if mtu is not None else b""
    return NEWLINK, 0, body


def no_ipv6(link: str | int) -> Message:
    """It gets no link-local address when it comes up: nothing is detected, solicited, announced.

    A message of its own, before the one that brings it up: the kernel takes the flags first.
    """
    index, name = _name_or_index(link)
    # IFLA_AF_SPEC, AF_INET6, IFLA_INET6_ADDR_GEN_MODE none
    return NEWLINK, 0, _link(index) + name + nested(26, nested(socket.AF_INET6, u8(8, 1)))


def delete_link(link: str | int) -> Message:
    """Take a link away."""
    index, name = _name_or_index(link)
    return DELLINK, 0, _link(index) + name


def add_address(index: int, address: str, prefix: int) -> Message:
    """An IPv4 address on a link; one that is there is no error."""
    packed = address_bytes(address)
    body = struct.pack("=BBBBi", socket.AF_INET, prefix, 0, 0, index)
    return NEWADDR, CREATE | REPLACE, body + attribute(2, packed) + attribute(1, packed)


def add_route(
    destination: str | None,
    prefix: int,
    *,
    oif: int,
    gateway: str | None = None,
    table: int = 254,
    on_link: bool = False,
    source: str | None = None,
) -> Message:
    """An IPv4 route (None: the default one), replacing one to the same place.

    `source`: the address that what is sent by it has, unless the sender chose one.
    """
    body = _route(destination, prefix, oif, gateway, table, on_link)
    body += attribute(7, address_bytes(source)) if source else b""
    return NEWROUTE, CREATE | REPLACE, body


def delete_route(destination: str, prefix: int, *, oif: int, gateway: str | None = None) -> Message:
    """Take away what `add_route` made."""
    return DELROUTE, 0, _route(destination, prefix, oif, gateway, 254, False)


def _route(
    destination: str | None,
    prefix: int,
    oif: int,
    gateway: str | None,
    table: int,
    on_link: bool,
) -> bytes:
    scope = 0 if gateway else 253
    head = struct.pack("=BBBBBBBBI", 2, prefix, 0, 0, 0, 4, scope, 1, 4 if on_link else 0)
    body = head + u32(15, table) + u32(4, oif)
    body += attribute(1, address_bytes(destination)) if destination else b""
    return body + (attribute(5, address_bytes(gateway)) if gateway else b"")


def rule(
    *,
    table: int,
    priority: int,
    to: tuple[str, int] | None = None,
    mark: int = 0,
    mask: int = 0,
    delete: bool = False,
) -> Message:
    """A routing rule by destination or by mark."""
    prefix = to[1] if to else 0
    head = struct.pack("=BBBBBBBBI", 2, prefix, 0, 0, 0, 0, 0, 1, 0)
    body = head + u32(15, table) + u32(6, priority)
    body += attribute(1, address_bytes(to[0])) if to else b""
    body += u32(10, mark) + u32(16, mask) if mask else b""
    return (DELRULE, 0, body) if delete else (NEWRULE, CREATE | EXCLUSIVE, body)


def neighbour(index: int, address: str, mac: bytes, *, delete: bool = False) -> Message:
    """A permanent neighbour: `address` is at `mac`."""
    head = struct.pack("=BxHiHBB", socket.AF_INET, 0, index, NUD_PERMANENT, 0, 0)
    body = head + attribute(1, address_bytes(address)) + attribute(2, mac)
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
    body = head + attribute(2, mac) + (attribute(1, address_bytes(to)) if to else b"")
    return (DELNEIGH, 0, body) if delete else (NEWNEIGH, CREATE | REPLACE, body)


def attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """The attributes of a message from `offset` on, the last of each kind."""
    found: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


class Socket:
    """A netlink socket of the namespace in which it was made; it serves it from any thread.

    Not for two threads at once: each owner has a lock or uses it in one place.
    """

    def __init__(self, family: int = 0) -> None:
        """`family`: NETLINK_ROUTE, or 12 for netfilter."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family
        )
        self._socket.bind((0, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        # The kernel always answers; a mistake of ours is an error then, not a thread that hangs.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 10, 0))
        self._sequence = 0

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def send(self, messages: Sequence[Message], *, ignore: Sequence[int] = ()) -> None:
        """Send all and wait for the answers. Raises the OSError of the first that failed.

        All are tried, whichever fails; errors whose number is in `ignore` are no errors.
        """
        failure: OSError | None = None
        for start in range(0, len(messages), BATCH):
            failure = self._batch(messages[start : start + BATCH], ignore) or failure
        if failure:
            raise failure

    def _batch(self, messages: Sequence[Message], ignore: Sequence[int]) -> OSError | None:
        first = self._sequence + 1
        self._sequence += len(messages)
        packed = [
            struct.pack("=IHHII", 16 + len(body), kind, REQUEST | ACK | flags, first + n, 0) + body
            for n, (kind, flags, body) in enumerate(messages)
        ]
        self._socket.send(b"".join(part + b"\0" * (-len(part) % 4) for part in packed))
        return self._acknowledged(messages, first, ignore)

    def transaction(self, subsystem: int, message: Message) -> None:
        """Have netfilter do one message by itself, whole. Raises OSError."""
        kind, flags, body = message
        self._sequence += 1
        frame = struct.pack(">BBH", 0, 0, subsystem)
        self._socket.send(
            struct.pack("=IHHII", 20, BATCH_BEGIN, REQUEST, 0, 0)
            + frame
            + struct.pack("=IHHII", 16 + len(body), kind, REQUEST | ACK | flags, self._sequence, 0)
            + body
            + struct.pack("=IHHII", 20, BATCH_END, REQUEST, 0, 0)
            + frame
        )
        failure = self._acknowledged([message], self._sequence, ())
        if failure:
            raise failure

    def _acknowledged(
        self, messages: Sequence[Message], first: int, ignore: Sequence[int]
    ) -> OSError | None:
        failure: OSError | None = None
        waiting = len(messages)
        while waiting:
            for kind, sequence, body in self._receive():
                if kind != NLMSG_ERROR or not first <= sequence < first + len(messages):
                    continue
                waiting -= 1
                number = -struct.unpack_from("=i", body)[0]
                if number and number not in ignore and failure is None:
                    what = _KINDS.get(messages[sequence - first][0], "netlink")
                    failure = OSError(number, f"{what}: {os.strerror(number)}")
        return failure

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(1 << 18)
        offset = 0
        while offset + 16 <= len(data):
            length, kind, _flags, sequence, _pid = struct.unpack_from("=IHHII", data, offset)
            yield kind, sequence, data[offset + 16 : offset + length]
            offset += (length + 3) & ~3

    def dump(self, kind: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        """(type, body) of everything that a dump request answers with. Raises OSError."""
        self._sequence += 1
        head = struct.pack("=IHHII", 16 + len(body), kind, REQUEST | DUMP, self._sequence, 0)
        self._socket.send(head + body)
        while True:
            for answer, sequence, payload in self._receive():
                if sequence != self._sequence:
                    continue
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", payload)[0]
                    raise OSError(number, os.strerror(number))
                yield answer, payload

    def links(self) -> dict[str, Link]:
        """All links by name."""
        found = {}
        for _, body in self.dump(GETLINK, _link()):
            _, _, index, flags, _ = struct.unpack_from("=BxHiII", body)
            values = attributes(body, 16)
            name = values[3].rstrip(b"\0").decode()
            found[name] = Link(
                index,
                name,
                bool(flags & IFF_UP),
                struct.unpack("=I", values[10])[0] if 10 in values else 0,
                struct.unpack("=I", values[4])[0],
                values.get(1, b""),
                attributes(values.get(18, b""), 0).get(1, b"") == b"bridge\0",
            )
        return found

    def ask(self, kind: int, body: bytes, head: int) -> dict[int, bytes]:
        """The attributes, after a header of `head` bytes, of a single answer. Raises OSError."""
        return attributes(self._answer(kind, body), head)

    def index(self, name: str) -> int:
        """The index of a link. Raises OSError ENODEV."""
        answer = self._answer(GETLINK, _link() + text(3, name))
        return int(struct.unpack_from("=i", answer, 4)[0])

    def _answer(self, kind: int, body: bytes) -> bytes:
        self._sequence += 1
        head = struct.pack("=IHHII", 16 + len(body), kind, REQUEST, self._sequence, 0)
        self._socket.send(head + body)
        while True:
            for answer, sequence, payload in self._receive():
                if sequence != self._sequence:
                    continue
                if answer == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", payload)[0]
                    raise OSError(number, os.strerror(number))
                return payload

    def addresses(self) -> list[tuple[int, str, int]]:
        """(link's index, IPv4 address, prefix length) of all."""
        found = []
        for _, body in self.dump(GETADDR, struct.pack("=BBBBi", socket.AF_INET, 0, 0, 0, 0)):
            _, prefix, _, _, index = struct.unpack_from("=BBBBi", body)
            values = attributes(body, 8)
            packed = values.get(2) or values.get(1)
            if packed:
                found.append((index, socket.inet_ntoa(packed), prefix))
        return found

    def routes(self) -> list[tuple[ipaddress.IPv4Network, int]]:
        """(destination, link's index) of the IPv4 routes of all tables."""
        found = []
        head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        for _, body in self.dump(GETROUTE, head):
            prefix = body[1]
            values = attributes(body, 12)
            destination = int.from_bytes(values.get(1, b"\0\0\0\0"), "big")
            index = struct.unpack("=I", values[4])[0] if 4 in values else 0
            found.append((ipaddress.IPv4Network((destination, prefix)), index))
        return found

    def neighbours(self, index: int) -> dict[str, bytes]:
        """The permanent IPv4 neighbours on a link."""
        found = {}
        head = struct.pack("=BxHiHBB", socket.AF_INET, 0, 0, 0, 0, 0)
        for _, body in self.dump(GETNEIGH, head):
            _, where, state = struct.unpack_from("=BxxxiH", body)
            values = attributes(body, 12)
            if where == index and state & NUD_PERMANENT and 1 in values and 2 in values:
                found[socket.inet_ntoa(values[1])] = values[2]
        return found

    def forwards(self, index: int) -> tuple[set[bytes], dict[bytes, str]]:
        """A VXLAN port's entries: MACs in the bridge's table, and MAC to host in its own."""
        bridge: set[bytes] = set()
        own: dict[bytes, str] = {}
        head = struct.pack("=BxHiII", AF_BRIDGE, 0, 0, 0, 0)
        for _, body in self.dump(GETNEIGH, head):
            _, where, state, flags = struct.unpack_from("=BxxxiHB", body)
            values = attributes(body, 12)
            if where != index or 2 not in values:
                continue
            if flags & NTF_SELF and 1 in values:
                own[values[2]] = socket.inet_ntoa(values[1])
            elif not state & NUD_PERMANENT:
                bridge.add(values[2])
        return bridge, own


_KINDS = {
    NEWLINK: "link",
    DELLINK: "delete link",
    NEWADDR: "address",
    NEWROUTE: "route",
    DELROUTE: "delete route",
    NEWNEIGH: "neighbour",
    DELNEIGH: "delete neighbour",
    NEWRULE: "rule",
    DELRULE: "delete rule",
}


@dataclass(frozen=True)
class Link:
    """A network device as a dump shows it."""

    index: int
    name: str
    up: bool
    master: int
    mtu: int
    mac: bytes
    bridge: bool
