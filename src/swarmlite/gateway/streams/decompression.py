"""Archives that clients send, plain or compressed: told by their first bytes, as Docker does.

gzip, bzip2, xz and zstd. Each piece is decoded by a thread, in parts of a bounded size, so that an
archive which grows a thousandfold holds up neither the loop nor the memory.
"""

from __future__ import annotations

import asyncio
import bz2
import lzma
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from swarmlite.errors import InvalidSpec

PART_BYTES = 256 * 1024
_ZSTD_WINDOW_BYTES = 128 << 20
_HEAD_BYTES = 6


async def plain(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What the pieces hold, decoded. Raises InvalidSpec for what is damaged or ends early."""
    source = aiter(pieces)
    head = b""
    while len(head) < _HEAD_BYTES and (piece := await anext(source, b"")):
        head += piece
    decoder = _decoder(head)
    if decoder is None:
        if head:
            yield head
        async for piece in source:
            yield piece
        return
    piece = head
    while piece:
        parts = decoder.decode(piece)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            if part:
                yield part
        piece = await anext(source, b"")
    if not decoder.complete:
        raise InvalidSpec("the archive ends early")


def _decoder(head: bytes) -> _Members | _Zstd | None:
    if head.startswith(b"\x1f\x8b"):
        return _Members(lambda: _Gzip())
    if head.startswith(b"BZh"):
        return _Members(bz2.BZ2Decompressor)
    if head.startswith(b"\xfd7zXZ\x00"):
        return _Members(lambda: lzma.LZMADecompressor(memlimit=_ZSTD_WINDOW_BYTES))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _Zstd()
    return None


class _Members:
    """Of gzip, bzip2 and xz: one after the other, as these formats may be put together."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._current = make()
        self.complete = False

    def decode(self, piece: bytes) -> Iterator[bytes]:
        try:
            while True:
                if self._current.eof:
                    # Zeros may pad the end.
                    piece = piece.lstrip(b"\0")
                    if not piece:
                        return
                    self._current = self._make()
                yield self._current.decompress(piece, PART_BYTES)
                piece = b""
                self.complete = self._current.eof
                if self.complete:
                    piece = self._current.unused_data
                elif self._current.needs_input:
                    return
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise InvalidSpec(f"the archive is damaged: {error}") from error


class _Gzip:
    """zlib's decompressor as bz2 and lzma have theirs."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(31)

    def decompress(self, data: bytes, most: int) -> bytes:
        return self._inflater.decompress(self._inflater.unconsumed_tail + data, most)

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inflater.unconsumed_tail


class _Zstd:
    """Frames, also skippable ones; little is decoded at a time, since a part's size has no limit
    of its own here.
    """

    def __init__(self) -> None:
        self._new()

    def _new(self) -> None:
        import zstandard

        context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._inflater = context.decompressobj(write_size=PART_BYTES)
        self._failure: type[Exception] = zstandard.ZstdError

    @property
    def complete(self) -> bool:
        return bool(self._inflater.eof)

    def decode(self, piece: bytes) -> Iterator[bytes]:
        try:
            for start in range(0, len(piece), PART_BYTES // 64):
                part = piece[start : start + PART_BYTES // 64]
                while part:
                    if self._inflater.eof:
                        self._new()
                    yield self._inflater.decompress(part)
                    part = self._inflater.unused_data
        except self._failure as error:
            raise InvalidSpec(f"the archive is damaged: {error}") from error
