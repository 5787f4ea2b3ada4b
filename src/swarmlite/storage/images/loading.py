"""Taking in archives of images: `image load`."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from swarmlite.storage.images import archive
from swarmlite.storage.images.bringing import Bringing, check_layers
from swarmlite.storage.images.catalog import Catalog, Report, ignore, image_of, size_of
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.layers import os_error
from swarmlite.storage.images.manifest import chain_ids, check_platform, compose, digest_of
from swarmlite.storage.images.sources import LocalLayer
from swarmlite.storage.images.types import Image, Platform, Progress
from swarmlite.storage.trees import discard


class Loading:
    """Loads into one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def load(
        self,
        stream: AsyncIterable[bytes] | BinaryIO,
        report: Report | None,
        platform: Platform | None,
    ) -> list[Image]:
        """See ImageStore."""
        root, limits = self._catalog.root, self._catalog.limits
        wanted = platform or Platform.of_host()
        try:
            folder = Path(tempfile.mkdtemp(prefix="load-", dir=root / "tmp"))
            try:
                path = folder / "archive"
                await archive.spool(stream, path, limits)
                found = await asyncio.to_thread(archive.read, path, wanted, limits)
                return await self._load(found, wanted, report or ignore)
            finally:
                discard(folder)
        except OSError as error:
            self._catalog.give_back()
            raise os_error(error, root) from error
        except BaseException:
            self._catalog.give_back()  # what was brought of it: nobody goes on with that
            raise

    async def _load(
        self, found: Sequence[archive.Archived], wanted: Platform, report: Report
    ) -> list[Image]:
        catalog = self._catalog
        brought = []
        with ExitStack() as holding:
            for image in found:
                check_platform(image.config, wanted)
                check_layers(catalog, len(image.diff_ids), len(image.layers))
                holding.enter_context(catalog.holding(chain_ids(image.diff_ids)))
                brought.append(await self._load_one(image, report, holding))
            for entry in brought:  # layers that a pull brought just before
                await catalog.layers.unsynced.settled([*entry.layers, *entry.blobs])
            kept, undo = [], ExitStack()
            for entry, image in zip(brought, found, strict=True):
                for tag in image.tags or ("",):
                    added = catalog.index.add(entry, tag=tag, undo=undo)
                kept.append(_named(image_of(added), image.tags))
            await catalog.save(undo)
        report(Progress("", "Loaded"))
        return kept

    async def _load_one(self, image: archive.Archived, report: Report, holding: ExitStack) -> Entry:
        catalog = self._catalog
        digests = image.layer_digests or [""] * len(image.layers)
        sources = [
            LocalLayer(catalog.content, diff_id[7:19], part, report, digest)
            for diff_id, part, digest in zip(image.diff_ids, image.layers, digests, strict=True)
        ]

        def hold(digest: str) -> None:
            holding.enter_context(catalog.holding([digest]))

        kept = []
        try:
            layers = await Bringing(catalog, hold).bring(sources, image.diff_ids)
            for source in sources:  # of layers that were unpacked already too
                await in_thread(source.stage)
                hold(source.digest)
                kept.append(await in_thread(source.keep))
        finally:
            for source in sources:
                source.abandon()
        manifest = image.raw_manifest or compose(image.raw_config, kept)
        documents = [*image.raw_indexes, manifest, image.raw_config]
        blobs = [*map(digest_of, documents), *(layer.digest for layer in kept)]
        holding.enter_context(catalog.holding(blobs))
        await in_thread(catalog.keep, documents)
        entry = Entry(image.id, image.config, [la.chain_id for la in layers], size_of(layers))
        entry.manifest, entry.blobs = digest_of(manifest), list(dict.fromkeys(blobs))
        entry.index = digest_of(image.raw_indexes[0]) if image.raw_indexes else ""
        entry.added = entry.used = time.time()
        return entry


def _named(image: Image, tags: Sequence[str]) -> Image:
    """The image under the names that an archive gives it, and no others that it has here."""
    return replace(image, repo_tags=tuple(tag for tag in image.repo_tags if tag in tags))
