"""Brings an image from one place to another: only what the target lacks."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.kernel import durable
from swarmlite.storage.images import platforms
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.copies import places
from swarmlite.storage.images.copies.places import Place
from swarmlite.storage.images.copies.sources import RegistrySource, Source, open_file
from swarmlite.storage.images.copies.targets import (
    ArchiveTarget,
    LayoutTarget,
    RegistryTarget,
    Target,
)
from swarmlite.storage.images.manifest import Descriptor, Index, parse
from swarmlite.storage.images.registry import Document, Repository
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.together import together
from swarmlite.storage.images.types import Limits, Platform, Progress

Report = Callable[[Progress], None]
_AT_ONCE = 3
_MAX_DEPTH = 4


async def copy(
    source: Place,
    target: Place,
    report: Report,
    *,
    settings: RegistrySettings,
    limits: Limits,
    auths: tuple[RegistryAuth | None, RegistryAuth | None] = (None, None),
    platform: Platform | None = None,
) -> str:
    """The digest of what was copied: what `source` names, or its part for `platform`.

    Neither place is a node: who calls knows how to reach those. Raises swarmlite's errors.
    """
    with tempfile.TemporaryDirectory(prefix="swarmlite-copy-") as folder:
        scratch = Path(folder)
        try:
            async with (
                _source(source, scratch, settings, limits, auths[0]) as reading,
                _target(target, scratch, settings, limits, auths[1]) as writing,
            ):
                return await _Copying(reading, writing, scratch, report, source).run(platform)
        except OSError as error:
            where = error.filename or folder
            if durable.is_full(error):
                raise ResourceExhausted(f"no space left on the disk of {where}") from error
            raise InvalidSpec(f"{where}: {error.strerror}") from error


@asynccontextmanager
async def _source(
    place: Place,
    scratch: Path,
    settings: RegistrySettings,
    limits: Limits,
    auth: RegistryAuth | None,
) -> AsyncIterator[Source]:
    if place.kind == places.REGISTRY:
        async with Repository(place.reference, auth, settings, limits) as repository:
            yield RegistrySource(repository)
    else:
        yield await asyncio.to_thread(open_file, place, scratch, limits)


@asynccontextmanager
async def _target(
    place: Place,
    scratch: Path,
    settings: RegistrySettings,
    limits: Limits,
    auth: RegistryAuth | None,
) -> AsyncIterator[Target]:
    if place.kind == places.REGISTRY:
        async with Repository(
            place.reference, auth, settings, limits, actions="pull,push"
        ) as repository:
            yield RegistryTarget(repository, settings.upload_chunk_bytes)
    elif place.kind == places.LAYOUT:
        layout = LayoutTarget(place.path, place.name)
        try:
            yield layout
        except BaseException:
            layout.give_up()
            raise
    else:
        yield ArchiveTarget(place, scratch)


class _Copying:
    def __init__(
        self, source: Source, target: Target, scratch: Path, report: Report, origin: Place
    ) -> None:
        self._source, self._target = source, target
        self._scratch, self._report = scratch, report
        self._origin = origin
        self._documents: dict[str, Document] = {}
        self._blobs: dict[str, Descriptor] = {}

    async def run(self, platform: Platform | None) -> str:
        top = await self._source.top()
        if platform is not None:
            top = (await platforms.choose(self._source, top, platform)).document
        await self._read(top, 0)
        limit = asyncio.Semaphore(_AT_ONCE)
        await together(self._blob(one, limit) for one in self._blobs.values())
        for document in self._documents.values():
            if document.digest != top.digest:
                await self._target.document(document)
        await self._target.finish(top)
        return top.digest

    async def _read(self, document: Document, depth: int) -> None:
        if document.digest in self._documents:
            return
        parsed = parse(document.data, document.media_type, any_layers=True)
        if isinstance(parsed, Index):
            if depth > _MAX_DEPTH:
                raise InvalidSpec(f"its index leads to indexes more than {_MAX_DEPTH} deep")
            for entry in parsed.manifests:
                await self._read(await self._source.manifest(entry.digest), depth + 1)
        else:
            layers = [layer for layer in parsed.layers if not layer.is_foreign]
            for blob in (parsed.config, *layers):
                self._blobs.setdefault(blob.digest, blob)
        self._documents[document.digest] = document

    async def _blob(self, blob: Descriptor, limit: asyncio.Semaphore) -> None:
        async with limit:
            if await self._target.has(blob):
                self._report(Progress(blob.short, "Already exists"))
                return
            if self._origin.kind == places.REGISTRY and await self._target.mount(
                blob, self._origin.reference.path
            ):
                self._report(Progress(blob.short, "Mounted"))
                return
            file = self._scratch / blob.digest.replace(":", "-")
            await self._source.fetch(blob, file, self._moved("Downloading", blob))
            await self._target.put(blob, file, self._moved("Pushing", blob))
            file.unlink(missing_ok=True)
            self._report(Progress(blob.short, "Copied", blob.size, blob.size))

    def _moved(self, status: str, blob: Descriptor) -> Callable[[int], None]:
        return lambda have: self._report(Progress(blob.short, status, have, blob.size))
