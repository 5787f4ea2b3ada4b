"""A netlink socket that sends messages in batches, and the dumps that we read.

Hand-packed because this is the path of a start: one message makes a veth, its peer in another
namespace and the bridge port at once, and a batch of them costs one system call each way.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from swarmlite.network.netlink.attributes import Message, attributes, text
from swarmlite.network.netlink.constants import (
    ACK,
    AF_BRIDGE,
    BATCH_BEGIN,
    BATCH_END,
    DELADDR,
    DELLINK,
    DELNEIGH,
    DELROUTE,
    DELRULE,
    DUMP,
    GETADDR,
    GETLINK,
    GETNEIGH,
    GETROUTE,
    IFA_ADDRESS,
    IFA_LOCAL,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    NDA_DST,
    NDA_LLADDR,
    NETLINK_ROUTE,
    NEWADDR,
    NEWLINK,
    NEWNEIGH,
    NEWROUTE,
    NEWRULE,
    NLMSG_DONE,
    NLMSG_ERROR,
    NTF_SELF,
    NUD_PERMANENT,
    REQUEST,
    RT_SCOPE_UNIVERSE,
    RTA_DST,
    RTA_OIF,
)
from swarmlite.network.netlink.links import link_head

BATCH = 64
"""Messages sent before their answers are read; more could overrun the receive buffer."""
RECEIVE_BYTES = 64 << 10
"""The kernel puts 32 KiB at most into one answer."""
SEND_BYTES = 64 << 10
"""As much goes in one message whatever the host's defaults are."""
_SO_SNDBUFFORCE = 32
_KINDS = {
    NEWLINK: "link",
    DELLINK: "delete link",
    NEWADDR: "address",
    DELADDR: "delete address",
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
    kind: str
    """bridge, veth, vlan and so on; empty for a card."""

    @property
    def bridge(self) -> bool:
        """Whether it is a bridge."""
        return self.kind == "bridge"


def _kind(values: dict[int, bytes]) -> str:
    info = attributes(values.get(IFLA_LINKINFO, b""), 0)
    return info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode(errors="replace")


class Socket:
    """A netlink socket of the namespace in which it was made; it serves it from any thread.

    Not for two threads at once: each owner has a lock or uses it in one place.
    """

    def __init__(self, family: int = NETLINK_ROUTE, *, receive_bytes: int = 1 << 20) -> None:
        """`family`: NETLINK_ROUTE or NETLINK_NETFILTER.

        `receive_bytes`: 0, the host's default, does for a batch or two without a dump.
        """
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family
        )
        self._socket.bind((0, 0))
        if receive_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
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
        first, last = self._sequence + 1, self._sequence + len(messages)
        self._sequence = last
        packed = []
        for number, (kind, flags, body) in enumerate(messages, first):
            # One answer is enough: what fails is answered whether asked for or not.
            flags |= REQUEST | ACK if number == last else REQUEST
            head = struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0)
            packed.append(head + body + b"\0" * (-len(body) % 4))
        self._socket.send(b"".join(packed))
        return self._acknowledged(messages, first, ignore)

    def transaction(self, messages: Sequence[Message]) -> None:
        """Have netfilter do all messages or none of them. Raises the OSError of the first."""
        subsystem = messages[0][0] >> 8
        frame = struct.pack(">BBH", 0, 0, subsystem)
        opened, last = self._sequence + 1, self._sequence + 1 + len(messages)
        self._sequence = last
        parts = [struct.pack("=IHHII", 20, BATCH_BEGIN, REQUEST, opened, 0), frame]
        for number, (kind, flags, body) in enumerate(messages, opened + 1):
            # One answer is enough: what fails is answered whether asked for or not.
            flags |= REQUEST | ACK if number == last else REQUEST
            parts.append(struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0))
            parts.append(body)
        parts += [struct.pack("=IHHII", 20, BATCH_END, REQUEST, 0, 0), frame]
        data = b"".join(parts)
        if len(data) > SEND_BYTES:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * len(data))
        self._socket.send(data)
        self._committed(opened, last)

    def _committed(self, opened: int, last: int) -> None:
        failure: OSError | None = None
        while True:
            for kind, sequence, body in self._receive():
                if kind != NLMSG_ERROR or not opened <= sequence <= last:
                    continue
                number = -struct.unpack_from("=i", body)[0]
                if number and failure is None:
                    failure = OSError(number, os.strerror(number))
                if sequence in (opened, last):  # of the whole, or the last of all answers
                    if failure:
                        raise failure
                    return

    def _acknowledged(
        self, messages: Sequence[Message], first: int, ignore: Sequence[int]
    ) -> OSError | None:
        failure: OSError | None = None
        last = first + len(messages) - 1
        while True:
            for kind, sequence, body in self._receive():
                if kind != NLMSG_ERROR or not first <= sequence <= last:
                    continue
                number = -struct.unpack_from("=i", body)[0]
                if number and number not in ignore and failure is None:
                    what = _KINDS.get(messages[sequence - first][0], "netlink")
                    failure = OSError(number, f"{what}: {os.strerror(number)}")
                if sequence == last:
                    return failure

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(RECEIVE_BYTES)
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
        for _, body in self.dump(GETLINK, link_head()):
            _, _, index, flags, _ = struct.unpack_from("=BxHiII", body)
            values = attributes(body, 16)
            name = values[IFLA_IFNAME].rstrip(b"\0").decode()
            found[name] = Link(
                index,
                name,
                bool(flags & IFF_UP),
                struct.unpack("=I", values[IFLA_MASTER])[0] if IFLA_MASTER in values else 0,
                struct.unpack("=I", values[IFLA_MTU])[0],
                values.get(IFLA_ADDRESS, b""),
                _kind(values),
            )
        return found

    def ask(self, kind: int, body: bytes, head: int) -> dict[int, bytes]:
        """The attributes, after a header of `head` bytes, of a single answer. Raises OSError."""
        return attributes(self._answer(kind, body), head)

    def index(self, name: str) -> int:
        """The index of a link. Raises OSError ENODEV."""
        answer = self._answer(GETLINK, link_head() + text(IFLA_IFNAME, name))
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
            packed = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS)
            if packed:
                found.append((index, socket.inet_ntoa(packed), prefix))
        return found

    def addresses6(self) -> list[tuple[int, str, int]]:
        """(link's index, IPv6 address, prefix length) of all, link-local ones left out."""
        found = []
        for _, body in self.dump(GETADDR, struct.pack("=BBBBi", socket.AF_INET6, 0, 0, 0, 0)):
            _, prefix, _, scope, index = struct.unpack_from("=BBBBi", body)
            values = attributes(body, 8)
            packed = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS)
            if packed and scope == RT_SCOPE_UNIVERSE:
                found.append((index, socket.inet_ntop(socket.AF_INET6, packed), prefix))
        return found

    def routes(self) -> list[tuple[ipaddress.IPv4Network, int]]:
        """(destination, link's index) of the IPv4 routes of all tables."""
        found = []
        head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        for _, body in self.dump(GETROUTE, head):
            prefix = body[1]
            values = attributes(body, 12)
            destination = int.from_bytes(values.get(RTA_DST, b"\0\0\0\0"), "big")
            index = struct.unpack("=I", values[RTA_OIF])[0] if RTA_OIF in values else 0
            found.append((ipaddress.IPv4Network((destination, prefix)), index))
        return found

    def neighbours(
        self, index: int, family: socket.AddressFamily = socket.AF_INET
    ) -> dict[str, bytes]:
        """The permanent neighbours on a link."""
        found = {}
        head = struct.pack("=BxHiHBB", family, 0, 0, 0, 0, 0)
        for _, body in self.dump(GETNEIGH, head):
            _, where, state = struct.unpack_from("=BxxxiH", body)
            values = attributes(body, 12)
            if where != index or not state & NUD_PERMANENT:
                continue
            if NDA_DST in values and NDA_LLADDR in values:
                found[socket.inet_ntop(family, values[NDA_DST])] = values[NDA_LLADDR]
        return found

    def forwards(self, index: int) -> tuple[set[bytes], dict[bytes, str]]:
        """A VXLAN port's entries: MACs in the bridge's table, and MAC to host in its own."""
        bridge: set[bytes] = set()
        own: dict[bytes, str] = {}
        head = struct.pack("=BxHiII", AF_BRIDGE, 0, 0, 0, 0)
        for _, body in self.dump(GETNEIGH, head):
            _, where, state, flags = struct.unpack_from("=BxxxiHB", body)
            values = attributes(body, 12)
            if where != index or NDA_LLADDR not in values:
                continue
            if flags & NTF_SELF and NDA_DST in values:
                own[values[NDA_LLADDR]] = _address_text(values[NDA_DST])
            elif not state & NUD_PERMANENT:
                bridge.add(values[NDA_LLADDR])
        return bridge, own


def _address_text(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
