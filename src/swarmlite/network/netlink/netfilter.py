"""Messages of nf_tables, hand-packed where a table is loaded at each start of a container.

libnftables reads the text, asks the kernel for what is there and packs the same messages: a
millisecond of the processor's where these take a tenth. Numbers are in network order, except for
registers' contents that the kernel compares as they are. Source: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence

from swarmlite.network.netlink.attributes import (
    Message,
    address_bytes,
    attribute,
    family_of,
    nested,
    text,
)
from swarmlite.network.netlink.constants import APPEND, CREATE, NESTED

TABLES = 10
"""The subsystem."""
_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _DELETE_CHAIN = 0, 2, 3, 5
_NEW_RULE, _DELETE_RULE, _NEW_SET, _NEW_ELEMENT, _DELETE_ELEMENT = 6, 8, 9, 12, 14
_LIST_ELEMENT = 1
PER_MESSAGE = 400
"""Elements in one message: the length of an attribute has sixteen bits."""

OUTPUT = 3
FILTER, NAT = "filter", "nat"
NETWORK, TRANSPORT = 1, 2
SOURCE_ADDRESS, DESTINATION_ADDRESS, PROTOCOL = (12, 4), (16, 4), (9, 1)
"""(offset, length) in an IPv4 header."""
DESTINATION_ADDRESS6 = (24, 16)
"""As these, in an IPv6 header."""
SOURCE_PORT, DESTINATION_PORT = (0, 2), (2, 2)
_CHECKSUMS = {socket.IPPROTO_UDP: 6, socket.IPPROTO_TCP: 16}
_REGISTER = 1
_VERDICT = 0
_GOTO, _L4PROTO = -4, 16
_ESTABLISHED = 2
_INTEGER_TYPE, _VERDICT_TYPE = 4, 0xFFFFFF00
_ADDRESS_TYPES = {socket.AF_INET: (7, 4), socket.AF_INET6: (8, 16)}
"""By family: the type of a set's addresses, and their length."""
_ANONYMOUS, _CONSTANT, _MAP = 1, 2, 8
_ADDRESSES, _VERDICTS, _NUMBERS = (
    # How `nft list` is to read keys and values: kind, length, and a number of the host's order.
    struct.pack("=BBI", 0, 4, 2),
    struct.pack("=BBIBBIBBI", 0, 4, 2, 1, 4, 0, 6, 4, 0),
    struct.pack("=BBIBBIBBI", 0, 4, 1, 1, 4, 2, 6, 4, 0),
)


class Packer:
    """Messages about one table, of IPv4 or IPv6."""

    def __init__(self, table: str, family: socket.AddressFamily = socket.AF_INET) -> None:
        self._table = text(1, table)
        self._head = struct.pack(">BBH", family, 0, 0)
        self._family = family
        self._type, self._length = _ADDRESS_TYPES[family]
        self._address_key = _number(4, self._type) + _number(5, self._length)

    def _message(self, kind: int, flags: int, *attributes: bytes) -> Message:
        return TABLES << 8 | kind, flags, self._head + self._table + b"".join(attributes)

    # tables and chains
    def table(self) -> Message:
        """Make it, unless it is there."""
        return self._message(_NEW_TABLE, CREATE, _number(2, 0))

    def delete_table(self) -> Message:
        """Take it away with all that is in it."""
        return self._message(_DELETE_TABLE, 0)

    def chain(self, name: str) -> Message:
        """A chain to go to."""
        return self._message(_NEW_CHAIN, CREATE, text(3, name))

    def base_chain(self, name: str, kind: str, hook: int, priority: int) -> Message:
        """A chain that the kernel asks; what falls through is accepted."""
        where = nested(4, _number(1, hook), _number(2, priority))
        return self._message(_NEW_CHAIN, CREATE, text(3, name), text(7, kind), _number(5, 1), where)

    def delete_chain(self, name: str) -> Message:
        """Nothing may lead to it, and it has to be empty."""
        return self._message(_DELETE_CHAIN, 0, text(3, name))

    def rule(self, chain: str, *expressions: bytes) -> Message:
        """One more rule at the end of a chain."""
        body = nested(4, *expressions)
        return self._message(_NEW_RULE, CREATE | APPEND, text(2, chain), body)

    def flush(self, chain: str) -> Message:
        """Take all its rules away."""
        return self._message(_DELETE_RULE, 0, text(2, chain))

    # sets
    def addresses(self, name: str, number: int) -> Message:
        """A set of addresses; `number` names it in this transaction."""
        about = self._address_key + _number(10, number) + attribute(13, _ADDRESSES)
        return self._message(_NEW_SET, CREATE, text(2, name), _number(3, 0), about)

    def verdicts(self, name: str, number: int) -> Message:
        """A map of addresses to verdicts."""
        about = self._address_key + _number(6, _VERDICT_TYPE) + _number(7, 0)
        about += _number(10, number) + attribute(13, _VERDICTS)
        return self._message(_NEW_SET, CREATE, text(2, name), _number(3, _MAP), about)

    def numbered(self, number: int, addresses: Sequence[str]) -> list[Message]:
        """A nameless map of 0, 1 and so on to addresses, for a rule that comes after it."""
        about = _number(3, _ANONYMOUS | _CONSTANT | _MAP)
        about += _number(4, _INTEGER_TYPE) + _number(5, 4)
        about += _number(6, self._type) + _number(7, self._length) + _number(10, number)
        about += nested(9, _number(1, len(addresses))) + attribute(13, _NUMBERS)
        pack = _numbered if self._family == socket.AF_INET else _numbered6
        elements = [pack(index, address) for index, address in enumerate(addresses)]
        made = self._message(_NEW_SET, CREATE, text(2, _NAMELESS), about)
        return [made, *self._elements(_NEW_ELEMENT, CREATE, _NAMELESS, elements, number)]

    def add_addresses(self, name: str, addresses: Iterable[str]) -> list[Message]:
        """Elements of a set."""
        keys = [_element(_value(1, address_bytes(address))) for address in addresses]
        return self._elements(_NEW_ELEMENT, CREATE, name, keys)

    def add_gotos(self, name: str, chains: Iterable[tuple[str, str]]) -> list[Message]:
        """Elements of a map of verdicts: the chain that each address leads to."""
        elements = [
            _element(_value(1, address_bytes(address)), nested(2, goto_verdict(chain)))
            for address, chain in chains
        ]
        return self._elements(_NEW_ELEMENT, CREATE, name, elements)

    def remove(self, name: str, addresses: Iterable[str]) -> list[Message]:
        """Take addresses out of a set or map; all have to be in it."""
        keys = [_element(_value(1, address_bytes(address))) for address in addresses]
        return self._elements(_DELETE_ELEMENT, 0, name, keys)

    def _elements(
        self, kind: int, flags: int, name: str, elements: Sequence[bytes], number: int = 0
    ) -> list[Message]:
        head = text(2, name) + (_number(4, number) if number else b"")
        return [
            self._message(
                kind,
                flags,
                head,
                nested(3, *elements[at : at + PER_MESSAGE]),
            )
            for at in range(0, len(elements), PER_MESSAGE)
        ]


# expressions
def field(base: int, place: tuple[int, int]) -> bytes:
    """Load a part of the packet."""
    offset, length = place
    values = _number(1, _REGISTER) + _number(2, base) + _number(3, offset) + _number(4, length)
    return _expression("payload", values)


def protocol() -> bytes:
    """Load the protocol above IP."""
    return _expression("meta", _number(2, _L4PROTO) + _number(1, _REGISTER))


def equals(value: bytes) -> bytes:
    """Go on with the rule only if what was loaded is this."""
    return _expression("cmp", _number(1, _REGISTER) + _number(2, 0) + _value(3, value))


def write_port(place: tuple[int, int], kind: int, port: int) -> bytes:
    """Put a port into the packet, of protocol `kind`, and mend the checksum."""
    offset, length = place
    value = _number(1, _REGISTER) + _value(2, struct.pack(">H", port))
    values = _number(5, _REGISTER) + _number(2, TRANSPORT) + _number(3, offset)
    values += _number(4, length) + _number(6, 1) + _number(7, _CHECKSUMS[kind])
    return _expression("immediate", value) + _expression("payload", values + _number(8, 0))


def not_established() -> bytes:
    """Go on with the rule only for what is part of no connection that stands.

    As long as a rule asks, connections are tracked: the kernel stops it with the last rule that
    needs it, also for connections that stand.
    """
    state = _expression("ct", _number(2, 0) + _number(1, _REGISTER))
    return state + _expression(
        "cmp", _number(1, _REGISTER) + _number(2, 1) + _value(3, struct.pack("=I", _ESTABLISHED))
    )


def untracked() -> bytes:
    """Connection tracking leaves the packet alone."""
    return _expression("notrack", b"")


def goto(chain: str) -> bytes:
    """Go on in another chain."""
    value = _number(1, _VERDICT) + nested(2, goto_verdict(chain))
    return _expression("immediate", value)


def goto_verdict(chain: str) -> bytes:
    """The verdict itself, as a map has it."""
    return nested(2, _number(1, _GOTO) + text(2, chain))


def in_set(name: str, number: int) -> bytes:
    """Go on only if what was loaded is in a set."""
    values = text(1, name) + _number(2, _REGISTER) + _number(4, number)
    return _expression("lookup", values)


def verdict_of(name: str, number: int) -> bytes:
    """The verdict of a map for what was loaded."""
    values = text(1, name) + _number(2, _REGISTER) + _number(3, _VERDICT) + _number(4, number)
    return _expression("lookup", values)


def refused_by_tcp() -> bytes:
    """A TCP connection is reset."""
    return _expression("reject", _number(1, 1) + attribute(2, b"\0"))


def refused_by_icmp(*, six: bool = False) -> bytes:
    """ICMP port unreachable; `six`: of IPv6."""
    return _expression("reject", _number(1, 0) + attribute(2, b"\x04" if six else b"\x03"))


def redirected(address: str) -> bytes:
    """The connection goes to an address instead."""
    value = _number(1, _REGISTER) + _value(2, address_bytes(address))
    return _expression("immediate", value) + _DNAT[family_of(address)]


def redirected_in_turn(
    count: int, number: int, family: socket.AddressFamily = socket.AF_INET
) -> bytes:
    """Connections go to the addresses of the nameless map `number`, one after the other."""
    turn = _number(1, _REGISTER) + _number(2, count) + _number(3, 0) + _number(4, 0)
    chosen = text(1, _NAMELESS) + _number(2, _REGISTER) + _number(3, _REGISTER)
    looked_up = _expression("lookup", chosen + _number(4, number))
    return _expression("numgen", turn) + looked_up + _DNAT[family]


def _numbered(index: int, address: str) -> bytes:
    """An element of a nameless map."""
    return _NUMBERED.pack(*_KEY, index, *_DATA, socket.inet_aton(address))


def _numbered6(index: int, address: str) -> bytes:
    key = _value(1, struct.pack("=I", index))
    return _element(key, _value(2, address_bytes(address)))


def _number(kind: int, value: int) -> bytes:
    return struct.pack("=HH", 8, kind) + struct.pack(">I", value & 0xFFFFFFFF)


def _value(kind: int, data: bytes) -> bytes:
    return nested(kind, attribute(1, data))


def _element(*parts: bytes) -> bytes:
    return nested(_LIST_ELEMENT, *parts)


def _expression(name: str, values: bytes) -> bytes:
    return nested(_LIST_ELEMENT, text(1, name), nested(2, values))


_NAMELESS = "__map%d"
_NUMBERED = struct.Struct("=6HI4H4s")
"""An element of a nameless map, packed at once: there are as many as backends."""
_KEY = (28, _LIST_ELEMENT | NESTED, 12, 1 | NESTED, 8, 1)
_DATA = (12, 2 | NESTED, 8, 1)
_DNAT: dict[int, bytes] = {
    family: _expression("nat", _number(1, 1) + _number(2, family) + _number(3, _REGISTER))
    for family in (socket.AF_INET, socket.AF_INET6)
}
