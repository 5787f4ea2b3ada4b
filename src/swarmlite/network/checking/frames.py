"""The frames that nodes send each other to probe a network. Pure."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

ETHERTYPE = 0x88B5
"""For local experiments: IEEE 802. No container's frame has it."""
ETHERNET = 14
SMALL = 64
"""Bytes of a packet that gets through wherever anything does."""
_HEAD = struct.Struct(">6s6sH4s8sHHHH")
_MAGIC = b"swlt"


@dataclass(frozen=True)
class Frame:
    """One probe."""

    sender: int
    """The number of its node in the check."""
    receiver: int
    size: int
    """Bytes, without the Ethernet header: as an MTU counts."""
    seen: int
    """The largest that the sender has heard from the receiver."""


def tag_of(check_id: str) -> bytes:
    """What the frames of one check have in common."""
    return hashlib.sha256(check_id.encode()).digest()[:8]


def mac_of(tag: bytes, number: int) -> bytes:
    """Where the frames to a node go: for one check, and no container's address (02:42)."""
    return b"\x06\x53" + tag[:2] + number.to_bytes(2, "big")


def pack(tag: bytes, frame: Frame) -> bytes:
    """As it is sent."""
    head = _HEAD.pack(
        mac_of(tag, frame.receiver),
        mac_of(tag, frame.sender),
        ETHERTYPE,
        _MAGIC,
        tag,
        frame.sender,
        frame.receiver,
        frame.size,
        frame.seen,
    )
    return head + bytes(frame.size + ETHERNET - len(head))


def unpack(tag: bytes, data: bytes) -> Frame | None:
    """A frame of this check; None for anything else, and for one that was cut."""
    if len(data) < _HEAD.size:
        return None
    _, _, kind, magic, of, sender, receiver, size, seen = _HEAD.unpack_from(data)
    if (kind, magic, of) != (ETHERTYPE, _MAGIC, tag) or len(data) < size + ETHERNET:
        return None
    return Frame(sender, receiver, size, seen)
