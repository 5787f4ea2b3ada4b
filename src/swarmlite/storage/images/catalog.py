"""What the parts of the image store share: blobs, layers, names, and who needs what just now."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from swarmlite.storage.content import Content
from swarmlite.storage.images import unsynced
from swarmlite.storage.images.arriving import Arrivals
from swarmlite.storage.images.flight import Locks
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.index import Index as ImageIndex
from swarmlite.storage.images.layers import Layer, LayerStore, os_error
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.types import Image, Limits, Progress
from swarmlite.storage.leases import Leases

log = logging.getLogger(__name__)

Report = Callable[[Progress], None]


class Catalog:
    """The images below `root`, one event loop's; see ImageStore for what lies there."""

    def __init__(
        self,
        root: Path,
        settings: RegistrySettings,
        limits: Limits,
        leases: Leases | None,
        *,
        markers: bool,
    ) -> None:
        """`markers`: see LayerStore."""
        self.root, self.settings, self.limits = root, settings, limits
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        lost = unsynced.recover(root)
        self.content = Content(root, lost)
        self.layers = LayerStore(root, limits, lost, markers=markers)
        unsynced.forget(root)
        self.leases = leases or Leases(root / "leases")
        self.index = ImageIndex(root / "images.json")
        self.locks = Locks()
        self.arrivals = Arrivals()
        self.pulling: Counter[str] = Counter()
        """Images that are on their way here, by the digest that they were asked for by."""
        self.uses_changed = False
        self._held: Counter[str] = Counter()
        self._holding = threading.Lock()  # archives are written by threads
        self._drop_broken_images()

    def _drop_broken_images(self) -> None:
        """An image whose layers someone deleted is gone."""
        entries = self.index.entries
        for entry in [*entries.values()]:
            if any(self.layers.get(chain_id) is None for chain_id in entry.layers):
                del entries[entry.id]

    @contextmanager
    def holding(self, names: Collection[str]) -> Iterator[None]:
        """Keep layers (chain ids) and blobs (digests) from being collected while counted on."""
        with self._holding:
            self._held.update(names)
        try:
            yield
        finally:
            with self._holding:
                self._held.subtract(names)
                self._held += Counter()

    def keep(self, documents: Iterable[bytes], *, sync: bool = True) -> None:
        """Small blobs: manifests and configs. Blocks; raises OSError.

        Without `sync` the caller has told the layers' `unsynced` of them.
        """
        for data in documents:
            self.content.put(data, sync=sync)

    @asynccontextmanager
    async def unsynced(self, names: Collection[str]) -> AsyncIterator[None]:
        """Bring what has these digests and chain ids here without waiting for the disk.

        What is here already is on the disk, or named as what is not. Raises OSError.
        """
        new = [name for name in names if not (self.layers.get(name) or self.content.has(name))]
        await self.layers.unsynced.expect(new)
        try:
            yield
        finally:
            self.layers.unsynced.arrived(new)
            self.layers.unsynced.flush_soon()

    async def save(self, undo: ExitStack | None = None) -> None:
        """The index, to the disk. Raises ResourceExhausted, FailedPrecondition, and undoes then."""
        try:
            await self.index.save()
        except OSError as error:
            if undo is not None:
                undo.close()
            raise os_error(error, self.root) from error

    def ids_in_use(self) -> set[str]:
        """Ids of the images that somebody holds, or whose layers a container stands on."""
        standing = self.layers.used()
        return {
            entry.id
            for entry in self.index.entries.values()
            if self.leases.holders(image=entry.id) or not standing.isdisjoint(entry.layers[-1:])
        }

    def collect(self) -> tuple[list[Layer], int]:
        """Drop what nothing needs: the layers that went, and the bytes that they and blobs had."""
        entries = self.index.entries.values()
        leased = {
            digest for owner in self.leases.owners() for digest in self.leases.held(owner).contents
        }
        with self._holding:
            held = set(self._held)
        needed = {chain for entry in entries for chain in entry.layers} | held
        layers = self.layers.collect(needed)
        blobs = {digest for entry in entries for digest in entry.blobs} | held | leased
        freed = self.content.collect(blobs)
        return layers, freed + size_of(layers)

    def give_back(self) -> None:
        """`collect` after a failure, which is what is told: of another one here the log has it."""
        try:
            self.collect()
        except OSError as error:
            log.warning("what an image had brought stays on the disk error=%s", error)


def image_of(entry: Entry) -> Image:
    """What the store hands out of an entry."""
    created: Any = entry.config.get("created")
    return Image(
        entry.id,
        tuple(entry.tags),
        tuple(entry.digests),
        entry.config,
        tuple(entry.layers),
        entry.size_bytes,
        created if isinstance(created, str) else "",
        entry.manifest,
        entry.used,
        entry.parent,
    )


def size_of(layers: Sequence[Layer]) -> int:
    """Unpacked bytes."""
    return sum(layer.size_bytes for layer in layers)


def ignore(_: Progress) -> None:
    """A report that nobody reads."""
