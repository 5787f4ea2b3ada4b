"""The blobs of an image's other platforms: kept to be given on, and never unpacked."""

from __future__ import annotations

import asyncio

from swarmlite.errors import InvalidSpec
from swarmlite.storage.images.catalog import Catalog, Report
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.manifest import Descriptor, Index, parse
from swarmlite.storage.images.registry import Document, Repository
from swarmlite.storage.images.sources import RemoteLayer
from swarmlite.storage.images.together import together

_DOWNLOADS = 3
_MAX_DEPTH = 4
_MAX_MANIFESTS = 200


class Others:
    """All that an index names, on its way here; `digests` is what has to be held meanwhile."""

    def __init__(self, catalog: Catalog, repository: Repository, report: Report) -> None:
        self._catalog, self._repository, self._report = catalog, repository, report
        self._documents: dict[str, bytes] = {}
        self._blobs: dict[str, Descriptor] = {}

    async def find(self, top: Document) -> list[str]:
        """Read all manifests; the digests of them and of all their blobs."""
        await self._read(top, 0)
        return [*self._documents, *self._blobs]

    async def _read(self, document: Document, depth: int) -> None:
        if document.digest in self._documents:
            return
        if depth > _MAX_DEPTH or len(self._documents) >= _MAX_MANIFESTS:
            raise InvalidSpec(
                f"its index names more than {_MAX_MANIFESTS} manifests, or is more than "
                f"{_MAX_DEPTH} deep"
            )
        self._documents[document.digest] = document.data
        parsed = await in_thread(lambda: parse(document.data, document.media_type, any_layers=True))
        if isinstance(parsed, Index):
            for entry in parsed.manifests:
                await self._read(await self._repository.manifest(entry.digest), depth + 1)
            return
        layers = [layer for layer in parsed.layers if not layer.is_foreign]
        for blob in (parsed.config, *layers):
            self._blobs.setdefault(blob.digest, blob)

    async def bring(self) -> None:
        """Bring what is missing, all of which the caller has told the layers' `unsynced` of.

        Cancelled or failed: what has come is gone on with next time.
        """
        await in_thread(lambda: self._catalog.keep(self._documents.values(), sync=False))
        limit = asyncio.Semaphore(_DOWNLOADS)
        await together(
            self._blob(blob, limit)
            for blob in self._blobs.values()
            if not self._catalog.content.has(blob.digest)
        )

    async def _blob(self, blob: Descriptor, limit: asyncio.Semaphore) -> None:
        source = RemoteLayer(self._catalog, self._repository, blob, self._report)
        async with limit, self._catalog.locks.hold(("source", blob.digest)):
            try:
                await source.fetch()
                await in_thread(source.keep)
            finally:
                source.end()
