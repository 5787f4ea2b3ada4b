"""Images that are made here: a layer and a configuration on top of what is there.

`commit` and `import` do so, one layer an image; what comes plain is kept compressed, to be pushed.
"""

from __future__ import annotations

import asyncio
import bz2
import hashlib
import io
import json
import lzma
import os
import tempfile
import time
import zlib
from collections.abc import AsyncIterable, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.storage.images import archive, manifests
from swarmlite.storage.images.bringing import check_layers
from swarmlite.storage.images.catalog import Catalog, image_of, size_of
from swarmlite.storage.images.describing import parsed_blob
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.layers import Layer, os_error
from swarmlite.storage.images.manifest import (
    Descriptor,
    Manifest,
    chain_ids,
    compose,
    digest_of,
    layer_type,
    parse_config,
)
from swarmlite.storage.images.types import Image, LayerSource
from swarmlite.storage.trees import discard

_TRIES = 5  # somebody prunes while the index is written: what is made is there at the end
LEVEL = 4  # of gzip: twice as fast as the usual 6, and some percent longer
_PIECE = 256 << 10
_XZ, _BZIP2 = b"\xfd7zXZ\0", b"BZh"


class Readable(Protocol):
    """Gives at most `size` bytes, none at the end. Blocks."""

    def read(self, size: int, /) -> bytes:
        """The next bytes."""


class Making:
    """Makes images of one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def make(
        self,
        config: dict[str, Any],
        layer: Readable | AsyncIterable[bytes],
        *,
        base: Image | None,
        tag: str,
    ) -> Image:
        """See ImageStore.make."""
        try:
            if not isinstance(layer, AsyncIterable):
                return await self._make(config, layer, base, tag)
            return await self._received(config, layer, base, tag)
        except OSError as error:
            self._catalog.give_back()
            raise os_error(error, self._catalog.root) from error
        except BaseException:
            self._catalog.give_back()  # what was brought of it: nobody goes on with that
            raise

    async def _received(
        self, config: dict[str, Any], stream: AsyncIterable[bytes], base: Image | None, tag: str
    ) -> Image:
        """All of it first, so that one that is cut short is never taken for the whole."""
        root = self._catalog.root
        folder = Path(tempfile.mkdtemp(prefix="make-", dir=root / "tmp"))
        try:
            path = folder / "layer"
            await archive.spool(stream, path, self._catalog.limits)
            with path.open("rb") as layer:
                return await self._make(config, layer, base, tag)
        finally:
            discard(folder)

    async def _make(
        self, config: dict[str, Any], tar: Readable, base: Image | None, tag: str
    ) -> Image:
        catalog = self._catalog
        below = await asyncio.to_thread(self.layers_of, base) if base else []
        diff_ids = list(_diff_ids(base))
        check_layers(catalog, len(diff_ids) + 1, len(diff_ids) + 1)
        held = [*(base.layers if base else ()), *(layer.digest for layer in below)]
        with catalog.holding(held):
            scratch, blob = await in_thread(self.spool, tar)
            with catalog.holding([blob.digest]):  # before it is one of those kept
                await in_thread(catalog.content.adopt, scratch, blob.digest)
                layers = await self.unpack(blob, diff_ids)
                config = {**config, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
                raw = json.dumps(config, separators=(",", ":")).encode()
                parent = base.id if base else ""
                return await self.keep(raw, layers, [*below, blob], tag, parent)

    def layers_of(self, base: Image) -> list[Descriptor]:
        """The layers of an image as they came. Raises FailedPrecondition."""
        return self.layers_of_entry(self._catalog.index.entries[base.id])

    def layers_of_entry(self, entry: Entry) -> list[Descriptor]:
        """The layers of one of the index's. Raises FailedPrecondition."""
        manifests.whole(self._catalog, entry)
        parsed = parsed_blob(self._catalog, entry.manifest)
        assert isinstance(parsed, Manifest)
        return list(parsed.layers)

    def spool(self, tar: Readable) -> tuple[Path, Descriptor]:
        """A layer's tar in a file, synced; gzip where it comes plain. Blocks."""
        content, limits = self._catalog.content, self._catalog.limits
        scratch = content.scratch()
        state, size = hashlib.sha256(), 0
        try:
            head = tar.read(_PIECE)
            with scratch.open("xb") as file:
                for piece in _compressed(head, tar.read):
                    file.write(piece)
                    state.update(piece)
                    size += len(piece)
                    if size > limits.archive_bytes:
                        raise ResourceExhausted(
                            f"the layer is longer than {limits.archive_bytes} bytes"
                        )
                file.flush()
                os.fsync(file.fileno())
            digest = f"sha256:{state.hexdigest()}"
            with scratch.open("rb") as file:
                kind = layer_type(file.read(4))
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        return scratch, Descriptor(kind, digest, size)

    async def unpack(self, blob: Descriptor, diff_ids: list[str]) -> list[Layer]:
        """All layers, the new one unpacked; its diff id is added to `diff_ids`."""
        store = self._catalog.layers
        path: Path = self._catalog.content.path(blob.digest)
        scratch = await store.unpack(LayerSource(str(path)), base=not diff_ids, name=blob.short)
        lowers = chain_ids(diff_ids)
        diff_ids.append(scratch.unpacked.diff_id)
        chain = chain_ids(diff_ids)
        async with self._catalog.locks.hold(("layer", chain[-1])):
            if store.get(chain[-1]) is not None:
                store.drop(scratch)
            else:
                try:
                    await store.settle(scratch, chain[-1])
                    await store.commit(scratch, lowers)
                except BaseException:
                    store.drop(scratch)
                    raise
        return [layer for key in chain if (layer := store.get(key)) is not None]

    async def keep(
        self,
        raw: bytes,
        layers: list[Layer],
        blobs: list[Descriptor],
        tag: str,
        parent: str,
        annotations: Mapping[str, str] | None = None,
    ) -> Image:
        """The image of a configuration and of layers that are here, with their blobs."""
        catalog = self._catalog
        config, _ = parse_config(raw)
        manifest = compose(raw, blobs, annotations)
        entry = Entry(digest_of(raw), config, [la.chain_id for la in layers], size_of(layers))
        entry.manifest, entry.parent = digest_of(manifest), parent
        digests = [entry.manifest, entry.id, *(blob.digest for blob in blobs)]
        entry.blobs = list(dict.fromkeys(digests))
        entry.added = entry.used = time.time()
        names = [*entry.blobs, *entry.layers]
        with catalog.holding(names):
            await in_thread(catalog.keep, [manifest, raw])
            await catalog.layers.unsynced.settled(names)  # a base that was pulled just before
            for _ in range(_TRIES):
                undo = ExitStack()
                kept = catalog.index.add(entry, tag=tag, undo=undo)
                await catalog.save(undo)
                if entry.id in catalog.index.entries:
                    break
        return image_of(kept)


def _diff_ids(base: Image | None) -> tuple[str, ...]:
    rootfs = (base.config.get("rootfs") or {}) if base else {}
    return tuple(rootfs.get("diff_ids") or ())


def _compressed(head: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The same as gzip; what is gzip or zstd stays as it is. Raises InvalidSpec."""
    if layer_type(head[:4]).rpartition("+")[2] in ("gzip", "zstd"):
        yield head
        while piece := read(_PIECE):
            yield piece
        return
    squeeze = zlib.compressobj(LEVEL, wbits=31)
    for piece in _plain(head, read):
        yield squeeze.compress(piece)
    yield squeeze.flush()


def _plain(head: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Without xz or bzip2, which layers may not be packed with."""
    if not head.startswith((_XZ, _BZIP2)):
        piece = head
        while piece:
            yield piece
            piece = read(_PIECE)
        return
    opened: Any = lzma.LZMAFile if head.startswith(_XZ) else bz2.BZ2File
    try:
        with opened(_Rewound(head, read)) as file:
            while piece := file.read(_PIECE):
                yield piece
    except (lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise InvalidSpec(f"the archive is damaged: {error}") from error


class _Rewound(io.RawIOBase):
    """A stream whose beginning was read already, as a file."""

    def __init__(self, head: bytes, read: Callable[[int], bytes]) -> None:
        self._head, self._more = head, read

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        return self._more(size)
