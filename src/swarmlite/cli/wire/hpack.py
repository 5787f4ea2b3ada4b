"""Headers of HTTP/2, as far as a gRPC server and we use them: no table, no Huffman code.

We ask the server for a table of size 0, so that each header block stands by itself.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` and `collections` take longer to load than this module
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Header = tuple[bytes, bytes]

_STATUSES = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
"""Entries of the static table that carry a value we look at; of the others no name is asked for."""
_STATIC = 61


class Unreadable(ValueError):
    """What no server of ours sends."""


def encode(headers: Iterable[Header]) -> bytes:
    """Each as a literal with its name."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)


def _text(value: bytes) -> bytes:
    return _number(len(value)) + value


def _number(value: int) -> bytes:
    """With a prefix of seven bits, whose eighth is 0."""
    if value < 127:
        return bytes([value])
    value, parts = value - 127, [127]
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def decode(block: bytes) -> Iterator[Header]:
    """The headers of a block. Raises Unreadable."""
    reader = _Reader(block)
    while not reader.over:
        first = block[reader.at]
        if first & 0x80:
            yield _indexed(reader.number(7))
        elif first & 0xE0 == 0x20:
            reader.number(5)  # a new size of the table, which stays empty
        else:
            index = reader.number(6 if first & 0x40 else 4)
            name = _indexed(index)[0] if index else reader.text()
            yield name, reader.text()


def _indexed(index: int) -> Header:
    if index > _STATIC or not index:
        raise Unreadable("a header of a table that was not asked for")
    if status := _STATUSES.get(index):
        return b":status", b"%d" % status
    return b"#%d" % index, b""


class _Reader:
    def __init__(self, block: bytes) -> None:
        self._block, self.at = block, 0

    @property
    def over(self) -> bool:
        return self.at >= len(self._block)

    def _byte(self) -> int:
        if self.over:
            raise Unreadable("headers are cut off")
        self.at += 1
        return self._block[self.at - 1]

    def number(self, bits: int) -> int:
        mask = (1 << bits) - 1
        value = self._byte() & mask
        if value < mask:
            return value
        for shift in range(0, 28, 7):
            byte = self._byte()
            value += (byte & 127) << shift
            if byte < 128:
                return value
        raise Unreadable("a length of headers is too large")

    def text(self) -> bytes:
        huffman = not self.over and self._block[self.at] & 0x80
        length = self.number(7)
        if huffman:
            raise Unreadable("headers in a code that was not asked for")
        text = self._block[self.at : self.at + length]
        if len(text) < length:
            raise Unreadable("headers are cut off")
        self.at += length
        return text
