"""DNS messages, the part that a resolver of small zones needs. Source: RFC 1035, RFC 6891.

Names are kept as they travel: length-prefixed labels, the root's zero byte included, in lower
case. So a question is looked up without being taken apart.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
IN = 1
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED = range(6)
TTL_S = 5
"""Short: addresses move with tasks, and clients that kept an answer too long reached nobody."""
UDP_LIMIT = 512
MAX_UDP = 4096
_HEADER = struct.Struct(">HHHHHH")
_ANSWER = struct.Struct(">HHHIH")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED = 0x8000, 0x0400, 0x0200
_RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x0100, 0x0080


class Malformed(ValueError):
    """Not a question that can be answered, not even with an error."""


@dataclass(frozen=True)
class Question:
    """What a client asks."""

    id: int
    flags: int
    raw: bytes
    """The question section as it came: the client's spelling is echoed."""
    name: bytes
    type: int
    limit: int
    """The largest answer that the client takes over UDP."""

    @property
    def opcode(self) -> int:
        """0 for a query."""
        return self.flags >> 11 & 0xF


def parse(data: bytes) -> Question:
    """Read a query. Raises Malformed."""
    if len(data) < 17:
        raise Malformed("too short")
    number, flags, questions, _, _, additional = _HEADER.unpack_from(data)
    if flags & _RESPONSE or questions != 1:
        raise Malformed("no single question")
    end = _name_end(data, 12)
    if end + 4 > len(data):
        raise Malformed("cut off")
    kind, qclass = struct.unpack_from(">HH", data, end)
    if qclass not in (IN, ANY):
        raise Malformed("class")
    limit = _limit(data, end + 4) if additional else UDP_LIMIT
    return Question(number, flags, data[12 : end + 4], data[12:end].lower(), kind, limit)


def _name_end(data: bytes, offset: int) -> int:
    start = offset
    while offset < len(data):
        length = data[offset]
        if length == 0:
            return offset + 1
        if length > 63 or offset + length - start > 254:
            raise Malformed("label")
        offset += length + 1
    raise Malformed("name without an end")


def _limit(data: bytes, offset: int) -> int:
    # An OPT record is the root's name and then type and size.
    if len(data) >= offset + 11 and data[offset] == 0:
        kind, size = struct.unpack_from(">HH", data, offset + 1)
        if kind == OPT:
            return max(UDP_LIMIT, min(int(size), MAX_UDP))
    return UDP_LIMIT


def wire_name(name: str) -> bytes:
    """`web.example` as labels. Raises Malformed for what is not a name."""
    labels = []
    for label in name.rstrip(".").lower().encode("utf-8", "replace").split(b"."):
        if not 0 < len(label) < 64:
            raise Malformed(f"{name!r} is not a DNS name")
        labels.append(bytes([len(label)]) + label)
    return b"".join(labels) + b"\0"


def reverse_name(address: str) -> bytes:
    """4.3.2.1.in-addr.arpa for 1.2.3.4; nibbles below ip6.arpa for IPv6."""
    if ":" in address:
        return wire_name(ipaddress.IPv6Address(address).reverse_pointer)
    return wire_name(".".join(reversed(address.split("."))) + ".in-addr.arpa")


def address_record(packed: bytes) -> bytes:
    """An A or AAAA record of the question's name, by the length of the address."""
    kind = A if len(packed) == 4 else AAAA
    return _ANSWER.pack(0xC00C, kind, IN, TTL_S, len(packed)) + packed


def pointer_record(name: bytes) -> bytes:
    """A PTR record of the question's name."""
    return _ANSWER.pack(0xC00C, PTR, IN, TTL_S, len(name)) + name


def answer(question: Question, records: Sequence[bytes], *, code: int = NO_ERROR) -> bytes:
    """A whole answer, however long; `fit` cuts it for UDP."""
    flags = _RESPONSE | _AUTHORITATIVE | _RECURSION_AVAILABLE | code
    flags |= question.flags & (_RECURSION_DESIRED | 0x7800)
    head = _HEADER.pack(question.id, flags, 1, len(records), 0, 0)
    return head + question.raw + b"".join(records)


def fit(question: Question, records: Sequence[bytes]) -> bytes:
    """An answer that fits the client's limit, marked as cut off if it had to be."""
    room = question.limit - 12 - len(question.raw)
    size = 0
    for count, record in enumerate(records):
        size += len(record)
        if size > room:
            cut = bytearray(answer(question, records[:count]))
            cut[2] |= _TRUNCATED >> 8
            return bytes(cut)
    return answer(question, records)


def same_question(reply: bytes, question: Question) -> bool:
    """Whether a resolver's reply belongs to the question."""
    if len(reply) < 12 or not reply[2] & 0x80:
        return False
    return reply[12 : 12 + len(question.raw)].lower() == question.raw.lower()
