"""Where the tar of a layer comes from: a registry, or a file that was loaded."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from swarmlite.storage.content import Content
from swarmlite.storage.images.arriving import Arrival
from swarmlite.storage.images.catalog import Catalog
from swarmlite.storage.images.manifest import Descriptor, layer_type
from swarmlite.storage.images.registry import Repository
from swarmlite.storage.images.types import LayerSource, Progress

Report = Callable[[Progress], None]
_REPORT_EVERY_S = 0.1


class Source(ABC):
    """A layer that has yet to be unpacked; two with the same `key` are never fetched at once."""

    def __init__(self, name: str, key: str, report: Report) -> None:
        self.name = name
        self.key = key
        self.digest = ""
        """Of its blob, known once it is staged at the latest."""
        self._report = report

    def say(self, status: str) -> None:
        """Tell the user."""
        self._report(Progress(self.name, status))

    @abstractmethod
    async def fetch(self) -> LayerSource:
        """Bring its tar here and say where it lies."""

    def stage(self) -> None:  # noqa: B027 - nothing to do for what was fetched
        """It is unpacked, and was what it should be: its blob is put beside those kept. Blocks."""

    @abstractmethod
    def keep(self, *, synced: bool = True) -> Descriptor:
        """Its blob, staged, is kept; `synced`: the disk has it already. Blocks; raises OSError."""

    @abstractmethod
    def is_kept(self) -> bool:
        """Whether its blob is among those kept."""

    def abandon(self) -> None:  # noqa: B027 - nothing to do where nothing was brought
        """It is of no use: drop what `fetch` has brought so far."""


class RemoteLayer(Source):
    """A layer in a registry."""

    def __init__(
        self, catalog: Catalog, repository: Repository, descriptor: Descriptor, report: Report
    ) -> None:
        super().__init__(descriptor.short, descriptor.digest, report)
        self._content, self._arrivals = catalog.content, catalog.arrivals
        self._arrival: Arrival | None = None
        self._repository = repository
        self._descriptor = descriptor
        self.digest = descriptor.digest
        self._reported = -1.0

    async def fetch(self) -> LayerSource:
        """Download it, or what is missing of it."""
        digest = self._descriptor.digest
        if self._content.has(digest):
            return LayerSource(str(self._content.path(digest)))
        path = self._content.ingest(digest)
        self._arrival = self._arrivals.begin(digest, self._descriptor.size, path)
        try:
            await self._repository.download(self._descriptor, path, self._downloaded)
        except BaseException:
            self.end()
            raise
        self._arrival.grew(self._descriptor.size)
        return LayerSource(str(path))

    def end(self) -> None:
        """It is kept or given up: nobody is given it from where it came to. Safe to repeat."""
        if self._arrival is not None:
            self._arrivals.end(self._arrival)

    def is_kept(self) -> bool:
        """See Source."""
        return self._content.has(self.digest)

    def keep(self, *, synced: bool = True) -> Descriptor:
        """See Source."""
        if not self._content.has(self.digest):
            self._content.commit(self.digest, synced=synced)
        self.say("Pull complete")
        return self._descriptor

    def abandon(self) -> None:
        """Half a blob is worth keeping for the next pull, but not at the price of the disk."""
        self._content.abandon(self._descriptor.digest)

    def _downloaded(self, have: int) -> None:
        if self._arrival is not None:
            self._arrival.grew(have)
        now = time.monotonic()
        if now - self._reported >= _REPORT_EVERY_S or have == self._descriptor.size:
            self._reported = now
            self._report(Progress(self.name, "Downloading", have, self._descriptor.size))


class LocalLayer(Source):
    """A layer inside of a file of this host; `digest` is of that part of it, where it is known."""

    def __init__(
        self, content: Content, name: str, part: LayerSource, report: Report, digest: str = ""
    ) -> None:
        super().__init__(name, f"{part.path}:{part.offset}", report)
        self._content = content
        self._part = part
        self.digest = digest
        self._staged: Path | None = None

    async def fetch(self) -> LayerSource:
        """It is here already."""
        return self._part

    def stage(self) -> None:
        """See Source; the file is its owner's, so its part is copied."""
        if self._staged is not None or self.is_kept():
            return
        with Path(self._part.path).open("rb") as file:
            file.seek(self._part.offset)
            self.digest, self._staged = self._content.stage(file, self._part.length, self.digest)

    def is_kept(self) -> bool:
        """See Source."""
        return bool(self.digest) and self._content.has(self.digest)

    def keep(self, *, synced: bool = True) -> Descriptor:
        """See Source; of a layer that was here already, nothing was staged or synced."""
        if self._staged is None:
            self.stage()
            synced = False
        if self._staged is not None:
            self._content.adopt(self._staged, self.digest, synced=synced)
            self._staged = None
        with Path(self._part.path).open("rb") as file:
            file.seek(self._part.offset)
            kind = layer_type(file.read(4))
        self.say("Loaded")
        return Descriptor(kind, self.digest, self._part.length)

    def abandon(self) -> None:
        """See Source; safe to repeat."""
        if self._staged is not None:
            self._staged.unlink(missing_ok=True)
            self._staged = None
