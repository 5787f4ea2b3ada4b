"""Pushing images: the very blobs and manifests that they came as, or were made as."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound, SwarmliteError
from swarmlite.model.references import Reference
from swarmlite.storage.images import manifests
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.catalog import Catalog, Report, ignore
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.layers import os_error
from swarmlite.storage.images.manifest import Descriptor
from swarmlite.storage.images.manifests import Whole
from swarmlite.storage.images.registry import Repository
from swarmlite.storage.images.together import together
from swarmlite.storage.images.types import Platform, Progress, Pushed
from swarmlite.storage.images.uploads import Uploads

log = logging.getLogger(__name__)

_UPLOADS = 5  # blobs at a time, as Docker
_MOUNT_SOURCES = 3
_REPORT_EVERY_S = 0.1


@dataclass(frozen=True)
class _Job:
    uploads: Uploads
    reference: Reference
    report: Report
    limit: asyncio.Semaphore


class Pushing:
    """Pushes from one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def push(
        self,
        ref: str,
        auth: RegistryAuth | None,
        platform: Platform | None,
        report: Report | None,
        *,
        all_platforms: bool,
        all_tags: bool,
    ) -> list[Pushed]:
        """See ImageStore."""
        reference = Reference.parse(ref)
        if reference.digest:
            raise InvalidSpec("cannot push a digest reference: give NAME[:TAG]")
        catalog, done = self._catalog, []
        names = self._tags(reference) if all_tags else [reference]
        entries = [self._find(name) for name in names]
        wholes = [
            manifests.whole(catalog, entry, platform, all_platforms=all_platforms)
            for entry in entries
        ]
        blobs = {digest for whole in wholes for digest in whole.digests}
        try:
            with catalog.holding(blobs):
                async with Repository(
                    reference, auth, catalog.settings, catalog.limits, actions="pull,push"
                ) as repository:
                    job = _Job(
                        Uploads(repository, catalog.settings.upload_chunk_bytes),
                        reference,
                        report or ignore,
                        asyncio.Semaphore(_UPLOADS),
                    )
                    for name, entry, whole in zip(names, entries, wholes, strict=True):
                        pushed = await self._push(job, name, whole)
                        done.append(pushed)
                        if entry.id in catalog.index.entries:
                            catalog.index.add(entry, digest=name.pinned(pushed.digest))
                await self._save()
        except OSError as error:
            raise os_error(error, catalog.root) from error
        return done

    async def _save(self) -> None:
        """The digests that were pushed, as names; they are with the registry, room here or not."""
        try:
            await self._catalog.index.save()
        except OSError as error:
            log.warning("pushed digests are not on the disk yet error=%s", error)

    def _find(self, reference: Reference) -> Entry:
        try:
            return self._catalog.index.find(reference.tagged)
        except NotFound as error:
            raise NotFound(
                f"An image does not exist locally with the tag: {reference.tagged}"
            ) from error

    def _tags(self, reference: Reference) -> list[Reference]:
        tags = {tag for entry in self._catalog.index.entries.values() for tag in entry.tags}
        found = [name for name in map(Reference.parse, sorted(tags)) if _same(name, reference)]
        if not found:
            raise NotFound(f"An image does not exist locally with the tag: {reference.name}")
        return found

    async def _push(self, job: _Job, name: Reference, whole: Whole) -> Pushed:
        for blob in whole.blobs:
            job.report(Progress(blob.short, "Preparing"))
        await together(self._blob(job, blob) for blob in whole.blobs)
        for document in whole.documents:  # those that others name before these
            await job.uploads.manifest(document.digest, document.data, document.media_type)
        top = whole.top
        await job.uploads.manifest(name.tag, top.data, top.media_type)
        return Pushed(name.tag, top.digest, len(top.data))

    async def _blob(self, job: _Job, blob: Descriptor) -> None:
        async with job.limit:
            if await job.uploads.has(blob.digest):
                job.report(Progress(blob.short, "Layer already exists"))
                return
            if source := await job.uploads.mount(blob.digest, self._sources(job, blob.digest)):
                job.report(Progress(blob.short, f"Mounted from {source}"))
                return
            try:
                path = self._catalog.content.path(blob.digest)
            except NotFound as error:
                raise FailedPrecondition(
                    f"layer {blob.short} of {job.reference} is not kept here as it came: "
                    "pull the image again"
                ) from error
            await job.uploads.send(blob, path, _Throttled(job.report, blob))
            job.report(Progress(blob.short, "Pushed", blob.size, blob.size))

    def _sources(self, job: _Job, digest: str) -> list[str]:
        """Repositories of the same registry that had this blob when it came from there."""
        found: dict[str, None] = {}
        for entry in self._catalog.index.entries.values():
            if digest in entry.blobs:
                found.update(dict.fromkeys(_repositories(entry, job.reference)))
        return list(found)[:_MOUNT_SOURCES]


def _repositories(entry: Entry, target: Reference) -> Iterator[str]:
    for name in (*entry.digests, *entry.tags):
        try:
            reference = Reference.parse(name)
        except SwarmliteError:
            continue
        if reference.domain == target.domain and reference.path != target.path:
            yield reference.path


def _same(one: Reference, other: Reference) -> bool:
    return (one.domain, one.path) == (other.domain, other.path)


class _Throttled:
    """Tells of what was sent, ten times a second at most."""

    def __init__(self, report: Report, blob: Descriptor) -> None:
        self._report, self._blob = report, blob
        self._last = -1.0

    def __call__(self, have: int) -> None:
        now = time.monotonic()
        if now - self._last >= _REPORT_EVERY_S:
            self._last = now
            self._report(Progress(self._blob.short, "Pushing", have, self._blob.size))
