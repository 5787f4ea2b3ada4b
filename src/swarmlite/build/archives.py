"""Tars that come from outside, unpacked below a scratch directory by the storage room's unpacker.

It runs in a process of its own, and holds against what an archive may try: see
storage/images/unpack.
"""

from __future__ import annotations

import asyncio
import bz2
import contextlib
import lzma
import os
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from swarmlite.errors import InvalidSpec
from swarmlite.storage.images.layers import LayerStore
from swarmlite.storage.images.types import LayerSource

_XZ, _BZIP2, _GZIP, _ZSTD = b"\xfd7zXZ\0", b"BZh", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BLOCK = 256 << 10
_HEADER = 512
_SMALL_BYTES = 1 << 20


@contextlib.asynccontextmanager
async def unpacked(layers: LayerStore, path: Path, name: str, scratch: Path) -> AsyncIterator[Path]:
    """The files of the tar `path`, packed or not, for as long as the block lasts.

    `scratch` is a new name beside it for what has to be repacked. Raises InvalidSpec,
    ResourceExhausted.
    """
    try:
        if await asyncio.to_thread(_repacked, path, scratch):
            path = scratch
        small = await asyncio.to_thread(_is_small, path)
        source = LayerSource(str(path))
        made = await layers.unpack(source, base=True, name=name, small=small)
    except InvalidSpec as error:
        raise InvalidSpec(str(error).removeprefix("layer ")) from error
    finally:
        scratch.unlink(missing_ok=True)
    try:
        yield made.path / "diff"
    finally:
        layers.drop(made)


def _repacked(path: Path, scratch: Path) -> bool:
    """Whether it was xz or bzip2, which the unpacker does not read: then `scratch` is plain."""
    with path.open("rb") as file:
        head = file.read(6)
    if not head.startswith((_XZ, _BZIP2)):
        return False
    opener: Any = lzma.LZMAFile if head.startswith(_XZ) else bz2.BZ2File
    try:
        with opener(path) as packed, scratch.open("xb") as plain:
            while block := packed.read(_BLOCK):
                plain.write(block)
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise InvalidSpec(f"the archive is damaged: {error}") from error
    return True


def _is_small(path: Path) -> bool:
    """Whether it is a plain tar of at most a thousand files."""
    if path.stat().st_size > _SMALL_BYTES:
        return False
    with path.open("rb") as file:
        return is_header(file.read(_HEADER))


def is_archive(descriptor: int) -> bool:
    """Whether a file is a tar, plain or packed: what ADD unpacks. Blocks; reads its beginning."""
    head = os.pread(descriptor, _BLOCK, 0)
    try:
        if head.startswith(_GZIP):
            head = zlib.decompressobj(wbits=31).decompress(head, _HEADER)
        elif head.startswith(_XZ):
            head = lzma.LZMADecompressor().decompress(head, _HEADER)
        elif head.startswith(_BZIP2):
            head = bz2.BZ2Decompressor().decompress(head, _HEADER)
        elif head.startswith(_ZSTD):
            import zstandard

            head = zstandard.ZstdDecompressor().decompressobj().decompress(head)
    except Exception:  # whatever a decompressor says of what is no archive
        return False
    return is_header(head[:_HEADER])


def is_header(block: bytes) -> bool:
    """Whether it begins a tar: by its checksum, which old tars without a magic have as well."""
    if len(block) < _HEADER or not block.strip(b"\0"):
        return False
    with contextlib.suppress(ValueError):
        said = int(block[148:156].strip(b" \0") or b"-1", 8)
        return said == sum(block[:148]) + 8 * 32 + sum(block[156:_HEADER])
    return False
