"""Forgetting connections whose other end is gone, so that their clients notice at once.

Each call works on the network namespace of the calling thread. Source: linux/netfilter/
nfnetlink_conntrack.h; a delete with CTA_FILTER flushes what matches (kernel 5.8).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from swarmlite.network.netlink import ACK, Message, Socket, address_bytes, attribute, nested

NETFILTER = 12
_DELETE = 1 << 8 | 2
_TUPLE_REPLY, _FILTER = 2, 25
_TUPLE_IP, _IP_SOURCE = 1, 1
_FILTER_REPLY_FLAGS = 2
_BY_SOURCE = 1


def forget(addresses: Iterable[str]) -> None:
    """Delete the connections that any of `addresses` answers. Raises OSError."""
    messages = [_deletion(address) for address in addresses]
    if not messages:
        return
    channel = Socket(NETFILTER)
    try:
        channel.send(messages)
    finally:
        channel.close()


def _deletion(address: str) -> Message:
    source = attribute(_IP_SOURCE, address_bytes(address))
    body = struct.pack(">BBH", socket.AF_INET, 1, 0)
    body += nested(_TUPLE_REPLY, nested(_TUPLE_IP, source))
    body += nested(_FILTER, attribute(_FILTER_REPLY_FLAGS, struct.pack("=I", _BY_SOURCE)))
    return _DELETE, ACK, body
