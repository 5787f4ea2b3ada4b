"""The clock of another host, asked by an ICMP timestamp (RFC 792), which Linux answers by itself.

Milliseconds since midnight, UTC: a difference of whole days is not seen. The standard library only.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable

WAIT_S = 2.0
TRIES = 2
DAY_MS = 24 * 3600 * 1000
_REQUEST, _REPLY = 13, 14
_MESSAGE = struct.Struct(">BBHHHIII")
_NOT_STANDARD = 1 << 31


def ahead_s(addr: str, now: Callable[[], float] = time.time) -> float | None:
    """By how many seconds the clock at `addr` (IPv4) is ahead of ours; None where it does not say.

    Raises OSError for those who may not ask: it takes root.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as asking:
        for number in range(TRIES):
            sent = now()
            asking.sendto(_request(number, _of_day(sent)), (addr, 0))
            theirs = _answered(asking, addr, number)
            if theirs is not None:
                ours = _of_day((sent + now()) / 2)
                return ((theirs - ours + DAY_MS // 2) % DAY_MS - DAY_MS // 2) / 1000
    return None


def _request(number: int, at: int) -> bytes:
    plain = _MESSAGE.pack(_REQUEST, 0, 0, _own(), number, at, 0, 0)
    return _MESSAGE.pack(_REQUEST, 0, _checksum(plain), _own(), number, at, 0, 0)


def _answered(asking: socket.socket, addr: str, number: int) -> int | None:
    """Their time in the answer to our question; other hosts' packets come here too."""
    until = time.monotonic() + WAIT_S
    while (left := until - time.monotonic()) > 0:
        asking.settimeout(left)
        try:
            packet, (source, *_) = asking.recvfrom(2048)
        except TimeoutError:
            return None
        message = packet[4 * (packet[0] & 15) :]
        if source != addr or len(message) < _MESSAGE.size:
            continue
        kind, _, _, who, which, _, _, theirs = _MESSAGE.unpack_from(message)
        if (kind, who, which) == (_REPLY, _own(), number):
            return None if theirs & _NOT_STANDARD else int(theirs)
    return None


def _own() -> int:
    return os.getpid() & 0xFFFF


def _of_day(seconds: float) -> int:
    return int(seconds * 1000) % DAY_MS


def _checksum(message: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
