"""Images that grow layer by layer, each the difference of a snapshot: what a build does.

A difference becomes a layer as it lies, by a rename; its tar is only read through for its digest.
Blobs, which a push or a save wants, are packed of the layers once an image is made of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from swarmlite.errors import FailedPrecondition, NotFound
from swarmlite.kernel.paths import DIRECTORY
from swarmlite.storage import trees
from swarmlite.storage.images.catalog import Catalog, image_of
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.layers import Layer, Scratch, os_error
from swarmlite.storage.images.making import LEVEL, Making
from swarmlite.storage.images.manifest import Descriptor, chain_ids, digest_of, layer_type
from swarmlite.storage.images.types import Image, Unpacked
from swarmlite.storage.snapshots.overlay import OverlaySnapshots
from swarmlite.storage.snapshots.pieces import Pieces
from swarmlite.storage.snapshots.types import Snapshots

KEPT = "pull/layering"
"""Owns blobs that cannot be packed a second time, for as long as this process lives."""


class Layering:
    """Layers of one catalog; one event loop's. Raises ResourceExhausted, FailedPrecondition."""

    def __init__(self, catalog: Catalog, making: Making) -> None:
        self._catalog, self._making = catalog, making
        self._packed: dict[str, Descriptor] = {}

    def keep(self, used: Callable[[], Set[str]]) -> None:
        """Keep the layers (chain ids) that `used` names whenever it is asked, from any thread."""
        self._catalog.layers.keepers.append(used)

    def layer(self, chain_id: str) -> Layer | None:
        """The layer, where it is here."""
        return self._catalog.layers.get(chain_id)

    async def commit(
        self,
        snapshots: Snapshots,
        key: str,
        below: tuple[str, ...],
        hold: Callable[[str], None],
        *,
        latest: int | None = None,
    ) -> tuple[str, ...]:
        """The difference of a snapshot as one more layer on `below`; the caller removes it then.

        `hold` is told the new layer's chain id before it is there, and keeps it (`keep`). `latest`
        is the newest that a file of it may be, in seconds: newer ones are made as old.
        """
        async with self._translating():
            if latest is not None:
                await in_thread(_age, snapshots, key, latest * 1_000_000_000)
            if isinstance(snapshots, OverlaySnapshots):
                return await self._adopt(snapshots, key, below, hold)
            return await self._copy(snapshots, key, below, hold)

    async def _adopt(
        self,
        snapshots: OverlaySnapshots,
        key: str,
        below: tuple[str, ...],
        hold: Callable[[str], None],
    ) -> tuple[str, ...]:
        store = self._catalog.layers
        diff_id, size, entries = await in_thread(_read_through, snapshots, key)
        chain_id = chain_ids([*self._diff_ids(below), diff_id])[-1]
        hold(chain_id)
        async with self._catalog.locks.hold(("layer", chain_id)):
            if store.get(chain_id) is None:
                folder = Path(tempfile.mkdtemp(prefix="layer-", dir=self._catalog.root / "tmp"))
                scratch = Scratch(folder, Unpacked(diff_id, size, entries))
                try:
                    snapshots.take(key, folder / "diff")
                    await store.settle(scratch, chain_id)
                    await store.commit(scratch, below)
                except BaseException:
                    store.drop(scratch)
                    raise
        return (*below, chain_id)

    async def _copy(
        self,
        snapshots: Snapshots,
        key: str,
        below: tuple[str, ...],
        hold: Callable[[str], None],
    ) -> tuple[str, ...]:
        """Of a driver that keeps whole trees: by way of a tar."""
        with contextlib.closing(Pieces(snapshots.commit(key))) as pieces:
            scratch, blob = await in_thread(self._making.spool, pieces)
        with self._catalog.holding([blob.digest]):
            await in_thread(self._catalog.content.adopt, scratch, blob.digest)
            layers = await self._making.unpack(blob, self._diff_ids(below))
            self._catalog.leases.hold(KEPT, contents=[blob.digest])
        hold(layers[-1].chain_id)
        self._packed[layers[-1].chain_id] = blob
        return tuple(layer.chain_id for layer in layers)

    async def image(
        self,
        snapshots: Snapshots,
        config: Mapping[str, Any],
        chain: Sequence[str],
        *,
        base: Image | None = None,
        tags: Sequence[str] = (),
        annotations: Mapping[str, str] | None = None,
    ) -> Image:
        """An image of `config` (without its rootfs) and of layers, which the caller holds."""
        async with self._translating():
            chain = tuple(chain)
            rootfs = {"type": "layers", "diff_ids": self._diff_ids(chain)}
            raw = json.dumps({**config, "rootfs": rootfs}, separators=(",", ":")).encode()
            if not annotations and (there := self._there(raw, tags)) is not None:
                return there
            known = await in_thread(self._known, base) if base is not None else {}
            with contextlib.ExitStack() as held:
                blobs = await asyncio.gather(
                    *(self._blob(snapshots, chain[: i + 1], known, held) for i in range(len(chain)))
                )
                layers = [layer for key in chain if (layer := self.layer(key)) is not None]
                first, *others = tags or ("",)
                async with self._catalog.locks.hold(("image", digest_of(raw))):
                    image = await self._making.keep(
                        raw, layers, list(blobs), first, "", annotations
                    )
                undo = contextlib.ExitStack()
                for tag in others:
                    entry = self._catalog.index.entries[image.id]
                    self._catalog.index.add(entry, tag=tag, undo=undo)
                if others:
                    await self._catalog.save(undo)
            return image

    def _there(self, raw: bytes, tags: Sequence[str]) -> Image | None:
        """The image, where all of it is here under these names already."""
        entry = self._catalog.index.entries.get(digest_of(raw))
        if entry is None or not entry.manifest or not set(tags) <= set(entry.tags):
            return None
        whole = all(self._catalog.content.has(digest) for digest in entry.blobs)
        return image_of(entry) if whole else None

    def _known(self, base: Image) -> dict[str, Descriptor]:
        """Blobs of the base by the layers that they are."""
        return dict(zip(base.layers, self._making.layers_of(base), strict=True))

    def _diff_ids(self, chain: Sequence[str]) -> list[str]:
        found = [self.layer(chain_id) for chain_id in chain]
        if any(layer is None for layer in found):
            raise NotFound("a layer of the build was removed meanwhile: build again")
        return [layer.diff_id for layer in found if layer is not None]

    async def _blob(
        self,
        snapshots: Snapshots,
        chain: tuple[str, ...],
        known: Mapping[str, Descriptor],
        held: contextlib.ExitStack,
    ) -> Descriptor:
        """The blob of the topmost of these layers, packed where there is none."""
        top = chain[-1]
        if top in known:  # its image is the caller's
            return known[top]
        async with self._catalog.locks.hold(("packing", top)):
            packed = self._packed.get(top) or self._of_another_image(top)
            if packed is not None and self._catalog.content.has(packed.digest):
                held.enter_context(self._catalog.holding([packed.digest]))
                return packed
            if not isinstance(snapshots, OverlaySnapshots):
                raise FailedPrecondition(f"the blob of layer {top[7:19]} is gone: build again")
            blob = await in_thread(self._pack, snapshots, chain, held)
            self._packed[top] = blob
            return blob

    def _of_another_image(self, chain_id: str) -> Descriptor | None:
        for entry in self._catalog.index.entries.values():
            if chain_id in entry.layers and entry.manifest:
                with contextlib.suppress(FailedPrecondition, NotFound, OSError):
                    blobs = self._making.layers_of_entry(entry)
                    return dict(zip(entry.layers, blobs, strict=False)).get(chain_id)
        return None

    def _pack(
        self, snapshots: OverlaySnapshots, chain: tuple[str, ...], held: contextlib.ExitStack
    ) -> Descriptor:
        """The layer's tar as gzip among the blobs. Blocks."""
        content = self._catalog.content
        scratch = content.scratch()
        plain, packed, size = hashlib.sha256(), hashlib.sha256(), 0
        squeeze = zlib.compressobj(LEVEL, wbits=31)
        try:
            with (
                scratch.open("xb") as file,
                contextlib.closing(snapshots.layer_tar(chain)) as pieces,
            ):
                for piece in _and_last(pieces):
                    plain.update(piece or b"")
                    data = squeeze.flush() if piece is None else squeeze.compress(piece)
                    file.write(data)
                    packed.update(data)
                    size += len(data)
                file.flush()
                os.fsync(file.fileno())
            layer = self.layer(chain[-1])
            if layer is None or f"sha256:{plain.hexdigest()}" != layer.diff_id:
                raise FailedPrecondition(
                    f"layer {chain[-1][7:19]} is not what it was: prune the build cache"
                )
            digest = f"sha256:{packed.hexdigest()}"
            held.enter_context(self._catalog.holding([digest]))
            content.adopt(scratch, digest)
        finally:
            scratch.unlink(missing_ok=True)
        return Descriptor(layer_type(b"\x1f\x8b\x08\x00"), digest, size)

    @contextlib.asynccontextmanager
    async def _translating(self) -> AsyncIterator[None]:
        try:
            yield
        except OSError as error:
            raise os_error(error, self._catalog.root) from error


def _and_last(pieces: Iterator[bytes]) -> Iterator[bytes | None]:
    yield from pieces
    yield None


def _read_through(snapshots: OverlaySnapshots, key: str) -> tuple[str, int, int]:
    """The diff id and the bytes of a difference, and the pieces of its tar. Blocks."""
    state, count = hashlib.sha256(), 0
    for piece in snapshots.commit(key):
        state.update(piece)
        count += 1
    return f"sha256:{state.hexdigest()}", snapshots.usage(key), count


def _age(snapshots: Snapshots, key: str, latest_ns: int) -> None:
    """Let nothing of a difference be newer than that. Blocks."""
    root = snapshots.root(key)
    place = root.upper or root.directory
    assert place is not None
    descriptor = os.open(place, DIRECTORY)
    try:
        for entry in trees.walk(descriptor):
            status = entry.status
            if status.st_mtime_ns > latest_ns and not entry.is_whiteout:
                times = (min(status.st_atime_ns, latest_ns), latest_ns)
                os.utime(entry.name, ns=times, dir_fd=entry.folder, follow_symlinks=False)
    finally:
        os.close(descriptor)
