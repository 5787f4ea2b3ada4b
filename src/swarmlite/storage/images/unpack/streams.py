"""Bounded readers: a part of a file, decompressed, hashed."""

from __future__ import annotations

import hashlib
import importlib
import os
import zlib
from typing import IO, Any, Protocol

from swarmlite.storage.images.unpack.errors import BadLayer, TooBig

CHUNK = 256 << 10
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
_WINDOW_BYTES = 128 << 20


class Reader(Protocol):
    """Gives at most `size` bytes, fewer only at the end."""

    def read(self, size: int) -> bytes:
        """The next bytes; empty at the end."""


class FilePart:
    """`length` bytes of the descriptor `fd` from `offset` on; to its end when negative."""

    def __init__(self, fd: int, offset: int = 0, length: int = -1) -> None:
        self._fd = fd
        self._offset = offset
        self._end = offset + length if length >= 0 else 1 << 62

    def read(self, size: int) -> bytes:
        """The next bytes; empty at the end of the part or file."""
        parts = []
        while (want := min(size, self._end - self._offset)) > 0:
            data = os.pread(self._fd, min(want, 1 << 20), self._offset)
            if not data:
                break
            parts.append(data)
            self._offset += len(data)
            size -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class _Gzip:
    """Members of gzip one after the other; never more memory than was asked for."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self._library = _inflating()
        self._inflater: Any = None
        self._input = b""

    def read(self, size: int) -> bytes:
        parts = []
        while size > 0:
            try:
                data = self._some(size)
            except (zlib.error, self._library.error) as error:
                raise BadLayer(f"its gzip stream is damaged: {error}") from error
            if not data:
                break
            parts.append(data)
            size -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _some(self, size: int) -> bytes:
        while True:
            if self._inflater is None:
                if not self._input:
                    self._input = self._source.read(CHUNK)
                if not self._input.lstrip(b"\0"):  # the end, or the padding after it
                    if not self._input:
                        return b""
                    self._input = b""
                    continue
                self._inflater = self._library.decompressobj(wbits=31)
            data: bytes = self._inflater.decompress(self._input, size)
            self._input = self._inflater.unconsumed_tail
            if self._inflater.eof:
                self._input = self._inflater.unused_data
                self._inflater = None
            elif not data and not self._input:
                self._input = self._source.read(CHUNK)
                if not self._input:
                    raise BadLayer("its gzip stream ends early")
            if data:
                return data


class _Zstd:
    def __init__(self, source: Reader) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise BadLayer(f"it is compressed with zstd, which needs zstandard: {error}") from error
        self._error = zstandard.ZstdError
        decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        self._stream: IO[bytes] = decompressor.stream_reader(
            source,  # type: ignore[arg-type]
            read_size=CHUNK,
            read_across_frames=True,
        )

    def read(self, size: int) -> bytes:
        parts = []
        try:
            while size > 0 and (data := self._stream.read(size)):
                parts.append(data)
                size -= len(data)
        except self._error as error:
            raise BadLayer(f"its zstd stream is damaged: {error}") from error
        return b"".join(parts)


class _Peeked:
    def __init__(self, source: Reader, head: bytes) -> None:
        self._source = source
        self._head = head

    def read(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        return head + self._source.read(size - len(head)) if len(head) < size else head


def decompressed(source: Reader) -> Reader:
    """`source` without its gzip or zstd, recognised by its first bytes as Docker does."""
    head = source.read(4)
    peeked = _Peeked(source, head)
    if head.startswith(_GZIP):
        return _Gzip(peeked)
    if head == _ZSTD or (head[1:] == _ZSTD_SKIPPABLE and 0x50 <= head[0] <= 0x5F):
        return _Zstd(peeked)
    return peeked


class Hashed:
    """Counts and hashes what passes; refuses more than `limit` bytes.

    It reads ahead, a chunk at a time: a tar's headers are small, and each call costs.
    """

    def __init__(self, source: Reader, limit: int) -> None:
        self._source = source
        self._limit = limit
        self._hash = hashlib.sha256()
        self._chunk = b""
        self._at = 0
        self.count = 0

    def read(self, size: int) -> bytes:
        """The next bytes; raises TooBig."""
        start, end = self._at, self._at + size
        if end <= len(self._chunk):
            self._at = end
            return self._chunk[start:end]
        parts = [self._chunk[start:]]
        size -= len(parts[0])
        while size and self._more():
            self._at = min(size, len(self._chunk))
            parts.append(self._chunk[: self._at])
            size -= self._at
        return b"".join(parts)

    def _more(self) -> bool:
        """Have the next chunk, if there is one."""
        self._chunk, self._at = self._source.read(CHUNK), 0
        self.count += len(self._chunk)
        if self.count > self._limit:
            raise TooBig(f"it unpacks to more than {self._limit >> 20} MiB")
        self._hash.update(self._chunk)
        return bool(self._chunk)

    def drain(self) -> None:
        """Read what is left."""
        while self._more():
            pass

    @property
    def digest(self) -> str:
        """Of all, once it was drained."""
        return f"sha256:{self._hash.hexdigest()}"


def _inflating() -> Any:
    """isal's zlib, which is about twice as fast, where it is installed: else Python's own."""
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib
