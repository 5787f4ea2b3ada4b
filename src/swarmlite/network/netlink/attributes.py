"""Packing and unpacking what messages are made of."""

from __future__ import annotations

import functools
import socket
import struct

from swarmlite.network.netlink.constants import NESTED, TYPE_MASK

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


@functools.lru_cache(maxsize=65536)
def mac_bytes(mac: str) -> bytes:
    """The six bytes of aa:bb:cc:dd:ee:ff. Raises ValueError."""
    data = bytes.fromhex(mac.replace(":", ""))
    if len(data) != 6:
        raise ValueError(f"{mac!r} is not a MAC address")
    return data


def mac_text(data: bytes) -> str:
    """aa:bb:cc:dd:ee:ff."""
    return data.hex(":")


def mac_of(address: str) -> bytes:
    """A MAC address made from an IPv4 address."""
    return b"\x02\x42" + address_bytes(address)


def address_bytes(address: str) -> bytes:
    """The four bytes of an IPv4 address, the sixteen of an IPv6 one. Raises OSError."""
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address)
    return socket.inet_aton(address)


def family_of(address: str) -> int:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """The attributes of a message from `offset` on, the last of each kind."""
    found: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found
