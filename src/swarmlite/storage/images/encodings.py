"""Answers that a server or a proxy compressed on the way, asked for or not.

Digests are of the decoded content. Source: RFC 9110, section 8.4; RFC 8878 for zstd.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import aiohttp
import zstandard

from swarmlite.errors import InvalidSpec, Unavailable

_PLAIN = ("", "identity")
_STEP = 256 << 10
_SLOWEST_BYTES_S = 512
_WINDOW_BYTES = 128 << 20


class Decoder(Protocol):
    """Decodes piece by piece; raises InvalidSpec for what is damaged."""

    def decode(self, piece: bytes) -> Iterator[bytes]:
        """What a piece brings, itself in pieces of a bounded size."""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing at the end."""


def decoder(encoding: str) -> Decoder | None:
    """For a Content-Encoding; None where there is none. Raises InvalidSpec for an unknown one."""
    name = encoding.strip().lower()
    if name in _PLAIN:
        return None
    if name in ("gzip", "x-gzip"):
        return _Zlib(31)
    if name == "deflate":
        return _Zlib(15)
    if name == "zstd":
        return _Zstd()
    raise InvalidSpec(f"the answer has the unknown encoding {name[:40]!r}: use gzip, deflate, zstd")


async def steady(
    response: aiohttp.ClientResponse, window_s: float, slowest_bytes_s: int
) -> AsyncIterator[bytes]:
    """An answer piece by piece. Raises Unavailable where it drips for longer than `window_s`.

    A server that sends a byte now and then never stalls, and would hold a pull for ever.
    """
    began, received = time.monotonic(), 0
    async for piece in response.content.iter_chunked(_STEP):
        yield piece
        received += len(piece)
        now = time.monotonic()
        if now - began > window_s:
            if received < slowest_bytes_s * window_s:
                raise Unavailable(
                    f"{response.url.authority} sends less than {slowest_bytes_s} bytes a second"
                )
            began, received = now, 0


async def read_answer(
    response: aiohttp.ClientResponse, limit: int, what: str, window_s: float = 120.0
) -> bytes:
    """A small answer, decoded. Raises InvalidSpec where it is longer than `limit`, or damaged."""
    body, decoding = bytearray(), decoder(response.headers.get("Content-Encoding", ""))
    async for piece in steady(response, window_s, _SLOWEST_BYTES_S):
        for part in decoding.decode(piece) if decoding else (piece,):
            body += part
            if len(body) > limit:
                raise InvalidSpec(f"{what} is longer than {limit} bytes")
    if decoding is not None and not decoding.complete:
        raise InvalidSpec(f"the answer to {what} ends early")
    return bytes(body)


class _Zlib:
    def __init__(self, window: int) -> None:
        self._window = window
        self._inflater = zlib.decompressobj(window)

    @property
    def complete(self) -> bool:
        return self._inflater.eof

    def decode(self, piece: bytes) -> Iterator[bytes]:
        try:
            while piece:
                if self._inflater.eof:  # one more member
                    self._inflater = zlib.decompressobj(self._window)
                found = self._inflater.decompress(piece, _STEP)
                piece = self._inflater.unconsumed_tail or self._inflater.unused_data
                if found:
                    yield found
        except zlib.error as error:
            raise InvalidSpec(f"the answer's encoding is damaged: {error}") from error


class _Zstd:
    def __init__(self) -> None:
        self._new()

    def _new(self) -> None:
        context = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        self._inflater = context.decompressobj(write_size=_STEP)

    @property
    def complete(self) -> bool:
        return self._inflater.eof

    def decode(self, piece: bytes) -> Iterator[bytes]:
        try:
            for start in range(0, len(piece), _STEP // 64):  # so that little is decoded at a time
                part = piece[start : start + _STEP // 64]
                while part:
                    if self._inflater.eof:
                        self._new()
                    yield self._inflater.decompress(part)
                    part = self._inflater.unused_data
        except zstandard.ZstdError as error:
            raise InvalidSpec(f"the answer's encoding is damaged: {error}") from error
