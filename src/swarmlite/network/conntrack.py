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

    @property
    def _side(self) -> int:
        return _TUPLE_ORIGINAL if self.port else _TUPLE_REPLY

    @property
    def _kind(self) -> int:
        kind = _DESTINATION if self.port else _SOURCE
        return kind + _OF_IPV6 if self.family == socket.AF_INET6 else kind

    def filter(self) -> bytes:
        """The body of a request for these."""
        parts = [nested(_TUPLE_IP, attribute(self._kind, self.address))]
        flags, kind = _BY_SOURCE, _FILTER_REPLY_FLAGS
        if self.port:
            number = attribute(_NUMBER, bytes([socket.IPPROTO_UDP]))
            parts.append(nested(_TUPLE_PROTOCOL, number, attribute(_DESTINATION_PORT, self.port)))
            flags = _BY_DESTINATION | _BY_PROTOCOL | _BY_DESTINATION_PORT
            kind = _FILTER_ORIGINAL_FLAGS
        found = nested(_FILTER, attribute(kind, struct.pack("=I", flags)))
        return _HEAD.pack(self.family, 1, 0) + nested(self._side, *parts) + found

    def is_in(self, connection: dict[int, bytes]) -> bool:
        """Whether a connection of its family is one of these."""
        side = attributes(connection[self._side], 0)
        if attributes(side[_TUPLE_IP], 0).get(self._kind) != self.address:
            return False
        protocol = attributes(side[_TUPLE_PROTOCOL], 0)
        return not self.port or (
            protocol[_NUMBER][0] == socket.IPPROTO_UDP
            and protocol.get(_DESTINATION_PORT) == self.port
        )


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
            for part in filtered:
                _one_by_one(channel, part.filter(), [part])
        if matched:
            _one_by_one(channel, _HEAD.pack(socket.AF_INET6, 1, 0), matched)
    finally:
        channel.close()


def _one_by_one(channel: Socket, wanted: bytes, parts: Sequence[_Part]) -> None:
    """Delete each connection of the dump `wanted` that one of `parts` is in."""
    found = []
    for _, body in channel.dump(_GET, wanted):
        connection = attributes(body, _HEAD.size)
        if any(part.is_in(connection) for part in parts):
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
