"""Unpacking within this process: for what is plain, small and not worth another one."""

from __future__ import annotations

import os
from pathlib import Path

from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.storage.images.types import LayerSource, Limits, Unpacked
from swarmlite.storage.images.unpack.errors import BadLayer, TooBig
from swarmlite.storage.images.unpack.extract import Extractor
from swarmlite.storage.images.unpack.streams import FilePart, Hashed
from swarmlite.storage.images.unpack.tar import TarReader


def unpack(source: LayerSource, target: Path, limits: Limits, name: str) -> Unpacked:
    """A tar that no layer lies below. Blocks. Raises InvalidSpec, ResourceExhausted, OSError."""
    blob = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        stream = Hashed(FilePart(blob, source.offset, source.length), limits.bytes)
        extractor = Extractor(root, limits, base=True)
        extractor.run(TarReader(stream))
        stream.drain()
    except BadLayer as error:
        raise InvalidSpec(f"layer {name} is refused: {error}") from error
    except TooBig as error:
        raise ResourceExhausted(f"layer {name} is refused: {error}") from error
    finally:
        os.close(root)
        os.close(blob)
    return Unpacked(stream.digest, extractor.size_bytes, extractor.entries)
