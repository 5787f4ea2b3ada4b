"""Forgetting connections whose other end is gone, so that their clients notice at once.

Each call works on the network namespace of the calling thread. Source: linux/netfilter/
nfnetlink_conntrack.h. A dump with CTA_FILTER shows what matches (kernel 5.8), a delete with it
flushes that (6.8); before, what was shown is deleted one by one. Of IPv6 the filter matches what
differs, up to 6.18 at least (findings/conntrack-filter-of-ipv6-is-inverted.sh): it is not used.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from swarmlite.network.netlink import (
    ACK,
    NETLINK_NETFILTER,
    Message,
    Socket,
    address_bytes,
    attribute,
    attributes,
    family_of,
    nested,
)

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_HEAD = struct.Struct(">BBH")
"""Family, version, resource; attributes follow."""
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_SOURCE, _DESTINATION, _OF_IPV6 = 1, 2, 2
_NUMBER, _DESTINATION_PORT = 1, 3
_FILTER_ORIGINAL_FLAGS, _FILTER_REPLY_FLAGS = 1, 2
_BY_SOURCE, _BY_DESTINATION, _BY_PROTOCOL, _BY_DESTINATION_PORT = 1, 2, 8, 32

FEW = 16
"""So many are each shown by a dump of their own, which the kernel filters; more of them are looked
for in one dump of all connections."""


def forget(addresses: Iterable[str]) -> None:
    """Delete the connections that any of `addresses` answers. Raises OSError."""
    _delete([_Part(family_of(address), address_bytes(address)) for address in addresses])


def forget_udp(addresses: Iterable[str], ports: Sequence[int]) -> None:
    """Delete the UDP streams that were sent to one of `ports` of `addresses`.

    A stream that is older than a port's translation is never translated otherwise. Raises OSError.
    """
    packed = [struct.pack(">H", port) for port in ports]
    _delete([_Part(family_of(a), address_bytes(a), port) for a in addresses for port in packed])


class _Part(NamedTuple):
    """What is looked for in a connection: who answers it, or with a port to where it was sent."""

    family: int
    address: bytes
    port: bytes = b""

    @classmethod
    def of(cls, family: int, connection: dict[int, bytes], *, sent: bool) -> _Part | None:
        """What a connection is found by; None for one that is `sent` by another protocol."""
        side = attributes(connection[_TUPLE_ORIGINAL if sent else _TUPLE_REPLY], 0)
        kind = _DESTINATION if sent else _SOURCE
        kind += _OF_IPV6 if family == socket.AF_INET6 else 0
        address = attributes(side[_TUPLE_IP], 0)[kind]
        if not sent:
            return cls(family, address)
        protocol = attributes(side[_TUPLE_PROTOCOL], 0)
        if protocol[_NUMBER][0] != socket.IPPROTO_UDP:
            return None
        return cls(family, address, protocol[_DESTINATION_PORT])

    def filter(self) -> bytes:
        """The body of a request for these, of IPv4."""
        side, kind, flags, flags_kind = _TUPLE_REPLY, _SOURCE, _BY_SOURCE, _FILTER_REPLY_FLAGS
        port = b""
        if self.port:
            side, kind, flags_kind = _TUPLE_ORIGINAL, _DESTINATION, _FILTER_ORIGINAL_FLAGS
            flags = _BY_DESTINATION | _BY_PROTOCOL | _BY_DESTINATION_PORT
            number = attribute(_NUMBER, bytes([socket.IPPROTO_UDP]))
            port = nested(_TUPLE_PROTOCOL, number, attribute(_DESTINATION_PORT, self.port))
        address = nested(_TUPLE_IP, attribute(kind, self.address))
        found = nested(_FILTER, attribute(flags_kind, struct.pack("=I", flags)))
        return _HEAD.pack(self.family, 1, 0) + nested(side, address, port) + found


def _delete(parts: Sequence[_Part]) -> None:
    if not parts:
        return
    filtered = [part for part in parts if part.family == socket.AF_INET]
    matched = [part for part in parts if part.family != socket.AF_INET]
    channel = Socket(NETLINK_NETFILTER)
    try:
        try:
            channel.send([(_DELETE, ACK, part.filter()) for part in filtered])
        except OSError as error:
            # An older kernel wants a whole tuple to delete by.
            if error.errno != errno.EINVAL:
                raise
            dumps = [_HEAD.pack(socket.AF_INET, 1, 0)]
            if len(filtered) <= FEW:
                dumps = [part.filter() for part in filtered]
            _one_by_one(channel, dumps, filtered)
        if matched:
            _one_by_one(channel, [_HEAD.pack(socket.AF_INET6, 1, 0)], matched)
    finally:
        channel.close()


def _one_by_one(channel: Socket, dumps: Sequence[bytes], parts: Sequence[_Part]) -> None:
    """Delete each connection of `dumps` that one of `parts`, all of a kind, is in."""
    wanted, sent = set(parts), bool(parts[0].port)
    found = []
    for dump in dumps:
        for _, body in channel.dump(_GET, dump):
            connection = attributes(body, _HEAD.size)
            if _Part.of(body[0], connection, sent=sent) in wanted:
                found.append(_exactly(body[0], connection))
    # Each may have ended meanwhile.
    channel.send(found, ignore=[errno.ENOENT])


def _exactly(family: int, connection: dict[int, bytes]) -> Message:
    """What deletes this one, and no later one of the same addresses."""
    body = _HEAD.pack(family, 1, 0)
    body += nested(_TUPLE_ORIGINAL, connection[_TUPLE_ORIGINAL])
    for kind in (_ID, _ZONE):
        body += attribute(kind, connection[kind]) if kind in connection else b""
    return _DELETE, ACK, body
