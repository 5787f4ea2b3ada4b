"""Images from other hosts, in the place of a registry or before it.

Who they are and how they are asked is not the store's: `Peers` brings bytes into a `Sink`, which
knows what is right. A peer's bytes count for nothing before their digest was checked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from yarl import URL

from swarmlite.errors import InvalidSpec, ResourceExhausted, SwarmliteError
from swarmlite.model.image_sources import PEER, REGISTRY, SOURCES
from swarmlite.model.references import Reference
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.manifest import Descriptor, digest_of, media_type_of
from swarmlite.storage.images.registry import Document, Download, Repository, hash_so_far
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.types import Limits

T = TypeVar("T")


class Sink(ABC):
    """Takes one blob: from `have` on, in order."""

    def __init__(self, digest: str, size: int) -> None:
        """`size` is -1 where only the peer knows it: `expect` says it then."""
        self.digest, self.size = digest, size
        self.have = 0

    def expect(self, size: int) -> None:
        """How long a peer says that it is. Raises InvalidSpec where that cannot be."""
        if self.size >= 0 and size != self.size:
            raise InvalidSpec(f"blob {self.digest[:19]} is said to have {size} bytes")
        self.size = size

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, right or not."""
        return 0 <= self.size <= self.have

    @abstractmethod
    async def write(self, piece: bytes) -> None:
        """The next bytes. Raises InvalidSpec where they are too many, and OSError."""

    @abstractmethod
    def restart(self) -> None:
        """What has come is of no use."""

    @abstractmethod
    def is_right(self) -> bool:
        """Whether all of it has the digest."""


class Peers(Protocol):
    """Other hosts that may have one image."""

    async def fetch(self, sink: Sink) -> None:
        """Bring a blob, right in the end. Raises Unavailable that says who was asked, OSError."""


class PeeredRepository(Repository):
    """A repository whose blobs are asked of peers as well, in the order of `sources`."""

    def __init__(
        self,
        reference: Reference,
        auth: RegistryAuth | None,
        settings: RegistrySettings,
        limits: Limits,
        peers: Peers,
        sources: Sequence[str] = SOURCES,
        *,
        mirror: URL | None = None,
    ) -> None:
        super().__init__(reference, auth, settings, limits, mirror=mirror)
        self._peers, self._sources = peers, tuple(sources) or SOURCES

    async def manifest(self, target: str) -> Document:
        """See Repository. Only what is named by digest is asked of peers."""
        if ":" not in target:
            return await super().manifest(target)

        async def from_peers() -> Document:
            data = await self._small_of_peers(target, -1, self._limits.manifest_bytes)
            return Document(data, media_type_of(data), target)

        return await self._first(from_peers, lambda: Repository.manifest(self, target))

    async def blob(self, descriptor: Descriptor) -> bytes:
        """See Repository."""
        limit = self._limits.config_bytes
        return await self._first(
            lambda: self._small_of_peers(descriptor.digest, descriptor.size, limit),
            lambda: Repository.blob(self, descriptor),
        )

    async def download(
        self, descriptor: Descriptor, target: Path, progress: Callable[[int], None]
    ) -> None:
        """See Repository."""

        async def from_peers() -> None:
            target.touch(mode=0o600)
            state = await in_thread(hash_so_far, target, descriptor)
            with target.open("ab", buffering=0) as file:
                sink = FileSink(file, descriptor, state, progress)
                await self._peers.fetch(sink)

        async def from_registry() -> None:
            begun = target.exists() and target.stat().st_size > 0
            try:
                await Repository.download(self, descriptor, target, progress)
            except InvalidSpec:
                if not begun:
                    raise
                # some of it was a peer's: the registry's own is what counts
                target.unlink(missing_ok=True)
                await Repository.download(self, descriptor, target, progress)

        await self._first(from_peers, from_registry)

    async def _small_of_peers(self, digest: str, size: int, limit: int) -> bytes:
        sink = MemorySink(digest, size, limit)
        await self._peers.fetch(sink)
        return bytes(sink.data)

    async def _first(
        self, peers: Callable[[], Awaitable[T]], registry: Callable[[], Awaitable[T]]
    ) -> T:
        """What the first of the sources gives that has it; else one error that names them all."""
        failed: list[SwarmliteError] = []
        for source in self._sources:
            try:
                return await (peers() if source == PEER else registry())
            except ResourceExhausted:
                raise
            except SwarmliteError as error:
                failed.append(error)
        if len(failed) == 1:
            raise failed[0]
        kind = type(failed[self._sources.index(REGISTRY)])
        raise kind("; ".join(str(error) for error in failed)) from failed[-1]


class MemorySink(Sink):
    """A manifest or config."""

    def __init__(self, digest: str, size: int, limit: int) -> None:
        super().__init__(digest, size)
        self._limit = limit
        self.data = bytearray()

    def expect(self, size: int) -> None:
        """See Sink."""
        if not 0 <= size <= self._limit:
            raise InvalidSpec(f"blob {self.digest[:19]} is longer than {self._limit} bytes")
        super().expect(size)

    async def write(self, piece: bytes) -> None:
        """See Sink."""
        if len(self.data) + len(piece) > self.size:
            raise InvalidSpec(f"blob {self.digest[:19]} is longer than {self.size} bytes")
        self.data += piece
        self.have = len(self.data)

    def restart(self) -> None:
        """See Sink."""
        self.data.clear()
        self.have = 0

    def is_right(self) -> bool:
        """See Sink."""
        return digest_of(bytes(self.data), self.digest.partition(":")[0]) == self.digest


class FileSink(Sink):
    """A layer, into a file that is open for appending."""

    def __init__(
        self, file: BinaryIO | Any, descriptor: Descriptor, state: Any, grew: Callable[[int], None]
    ) -> None:
        super().__init__(descriptor.digest, descriptor.size)
        self._download = Download(file, descriptor, state)
        self._grew = grew
        self.have = self._download.have

    async def write(self, piece: bytes) -> None:
        """See Sink."""
        await in_thread(self._download.write, piece)
        self.have = self._download.have
        self._grew(self.have)

    def restart(self) -> None:
        """See Sink."""
        self._download.restart()
        self.have = 0

    def is_right(self) -> bool:
        """See Sink."""
        return self._download.digest == self.digest
