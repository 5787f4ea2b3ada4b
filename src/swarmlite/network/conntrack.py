"""Forgetting connections whose other end is gone, so that their clients notice at once.

Each call works on the network namespace of the calling thread. Source: linux/netfilter/
nfnetlink_conntrack.h; a delete with CTA_FILTER flushes what matches (kernel 5.8).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence

from swarmlite.network.netlink import (
    ACK,
    NETLINK_NETFILTER,
    Message,
    Socket,
    address_bytes,
    attribute,
    family_of,
    nested,
)

_DELETE = 1 << 8 | 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _FILTER = 1, 2, 25
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_IP_SOURCE, _IP_DESTINATION, _IP6_SOURCE, _IP6_DESTINATION = 1, 2, 3, 4
_NUMBER, _DESTINATION_PORT = 1, 3
_FILTER_ORIGINAL_FLAGS, _FILTER_REPLY_FLAGS = 1, 2
_BY_SOURCE, _BY_DESTINATION, _BY_PROTOCOL, _BY_DESTINATION_PORT = 1, 2, 8, 32


def forget(addresses: Iterable[str]) -> None:
    """Delete the connections that any of `addresses` answers. Raises OSError."""
    _send([_answered_by(address) for address in addresses])


def forget_udp(addresses: Iterable[str], ports: Sequence[int]) -> None:
    """Delete the UDP streams that were sent to one of `ports` of `addresses`.

    A stream that is older than a port's translation is never translated otherwise. Raises OSError.
    """
    _send([_sent_to(address, port) for address in addresses for port in ports])


def _send(messages: list[Message]) -> None:
    if not messages:
        return
    channel = Socket(NETLINK_NETFILTER)
    try:
        channel.send(messages)
    finally:
        channel.close()


def _answered_by(address: str) -> Message:
    family = family_of(address)
    kind = _IP_SOURCE if family == socket.AF_INET else _IP6_SOURCE
    source = attribute(kind, address_bytes(address))
    body = struct.pack(">BBH", family, 1, 0)
    body += nested(_TUPLE_REPLY, nested(_TUPLE_IP, source))
    body += nested(_FILTER, attribute(_FILTER_REPLY_FLAGS, struct.pack("=I", _BY_SOURCE)))
    return _DELETE, ACK, body


def _sent_to(address: str, port: int) -> Message:
    family = family_of(address)
    kind = _IP_DESTINATION if family == socket.AF_INET else _IP6_DESTINATION
    flags = _BY_DESTINATION | _BY_PROTOCOL | _BY_DESTINATION_PORT
    body = struct.pack(">BBH", family, 1, 0)
    body += nested(
        _TUPLE_ORIGINAL,
        nested(_TUPLE_IP, attribute(kind, address_bytes(address))),
        nested(
            _TUPLE_PROTOCOL,
            attribute(_NUMBER, bytes([socket.IPPROTO_UDP])),
            attribute(_DESTINATION_PORT, struct.pack(">H", port)),
        ),
    )
    body += nested(_FILTER, attribute(_FILTER_ORIGINAL_FLAGS, struct.pack("=I", flags)))
    return _DELETE, ACK, body
