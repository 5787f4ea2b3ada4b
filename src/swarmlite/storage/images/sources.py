"""Where the tar of a layer comes from: a registry, or a file that was loaded."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from swarmlite.storage.images.manifest import Descriptor
from swarmlite.storage.images.registry import Repository
from swarmlite.storage.images.types import LayerSource, Progress

Report = Callable[[Progress], None]
_REPORT_EVERY_S = 0.1


class Source(ABC):
    """A layer that has yet to be unpacked; two with the same `key` are never fetched at once."""

    def __init__(self, name: str, key: str, report: Report) -> None:
        self.name = name
        self.key = key
        self._report = report

    def say(self, status: str) -> None:
        """Tell the user."""
        self._report(Progress(self.name, status))

    @abstractmethod
    async def fetch(self) -> LayerSource:
        """Bring its tar here and say where it lies."""

    @abstractmethod
    def done(self) -> None:
        """It is unpacked: what `fetch` brought is not needed any more."""

    def abandon(self) -> None:  # noqa: B027 - nothing to do where nothing was brought
        """The disk is full: drop what `fetch` has brought so far."""


class RemoteLayer(Source):
    """A layer in a registry; its blob lies in `folder` until it is unpacked."""

    def __init__(
        self, folder: Path, repository: Repository, descriptor: Descriptor, report: Report
    ) -> None:
        super().__init__(descriptor.short, descriptor.digest, report)
        self._repository = repository
        self._descriptor = descriptor
        self._path = folder / descriptor.digest.replace(":", "-")
        self._reported = -1.0

    async def fetch(self) -> LayerSource:
        """Download it, or what is missing of it."""
        await self._repository.download(self._descriptor, self._path, self._downloaded)
        return LayerSource(str(self._path))

    def done(self) -> None:
        """Drop the blob."""
        self._path.unlink(missing_ok=True)
        self.say("Pull complete")

    def abandon(self) -> None:
        """Half a blob is worth keeping for the next pull, but not at the price of the disk."""
        self._path.unlink(missing_ok=True)

    def _downloaded(self, have: int) -> None:
        now = time.monotonic()
        if now - self._reported >= _REPORT_EVERY_S or have == self._descriptor.size:
            self._reported = now
            self._report(Progress(self.name, "Downloading", have, self._descriptor.size))


class LocalLayer(Source):
    """A layer inside of a file of this host."""

    def __init__(self, name: str, part: LayerSource, report: Report) -> None:
        super().__init__(name, f"{part.path}:{part.offset}", report)
        self._part = part

    async def fetch(self) -> LayerSource:
        """It is here already."""
        return self._part

    def done(self) -> None:
        """The file is its owner's."""
        self.say("Loaded")
