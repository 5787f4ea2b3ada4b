"""Pulling images from registries: one flight a reference, platform and login."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from yarl import URL

from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    ResourceExhausted,
    SwarmliteError,
)
from swarmlite.model.image_sources import REGISTRY, SOURCES
from swarmlite.model.references import Reference
from swarmlite.storage.images import platforms
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.bringing import Bringing, check_layers
from swarmlite.storage.images.catalog import Catalog, Report, ignore, image_of, size_of
from swarmlite.storage.images.flight import Flights, in_thread
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.layers import os_error
from swarmlite.storage.images.manifest import (
    Index,
    chain_ids,
    check_platform,
    digest_of,
    parse,
    parse_config,
)
from swarmlite.storage.images.others import Others
from swarmlite.storage.images.peers import PeeredRepository, Peers
from swarmlite.storage.images.registry import Repository
from swarmlite.storage.images.sources import RemoteLayer
from swarmlite.storage.images.types import Image, Platform, Progress, Resolved
from swarmlite.tallies import LONG_S, Outcomes

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class _Wanted:
    """What a pull is for; two that are equal share their work."""

    reference: Reference
    platform: Platform
    auth: RegistryAuth | None
    all_platforms: bool
    sources: tuple[str, ...] = SOURCES
    peers: Peers | None = field(default=None, compare=False)


class Pulling:
    """Pulls into one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.pulls = Outcomes(LONG_S)
        """Of images, in this process's life; what was here already is none."""
        self._flights: Flights[Image] = Flights()
        self._owners: dict[_Wanted, Counter[str]] = {}  # who waits for a pull

    async def _ask(
        self,
        reference: Reference,
        auth: RegistryAuth | None,
        work: Callable[[Repository], Awaitable[T]],
        peers: Peers | None = None,
        sources: Sequence[str] = SOURCES,
    ) -> T:
        """What `work` makes of a repository: the mirrors' first, where there are any.

        With `peers`, these are asked by each of the repositories too, as `sources` orders it.
        """
        settings, limits = self._catalog.settings, self._catalog.limits

        def opened(auth: RegistryAuth | None, mirror: URL | None = None) -> Repository:
            if peers is None:
                return Repository(reference, auth, settings, limits, mirror=mirror)
            return PeeredRepository(
                reference, auth, settings, limits, peers, sources, mirror=mirror
            )

        for mirror in settings.mirrors_of(reference.domain) if REGISTRY in sources else ():
            try:
                async with opened(None, mirror) as repository:
                    return await work(repository)
            except ResourceExhausted:
                raise
            except SwarmliteError as error:
                log.info("a mirror is passed over mirror=%s error=%s", mirror.authority, error)
        async with opened(auth) as repository:
            return await work(repository)

    async def resolve(self, ref: str, auth: RegistryAuth | None) -> Resolved:
        """See ImageStore."""
        reference = Reference.parse(ref)

        async def work(repository: Repository) -> Resolved:
            document = await repository.manifest(reference.target)
            parsed = await in_thread(parse, document.data, document.media_type)
            if isinstance(parsed, Index):
                found = await platforms.of_index(repository, parsed)
            else:
                config = await platforms.config_of(repository, parsed)
                found = (platforms.of_config(config),)
            return Resolved(document.digest, found, document.media_type, len(document.data))

        return await self._ask(reference, auth, work)

    async def tags(self, name: str, auth: RegistryAuth | None) -> list[str]:
        """See ImageStore."""
        reference = Reference.parse(name)
        found = await self._ask(reference, auth, lambda repository: repository.tags())
        if not found:
            raise NotFound(f"no such image: {reference.name} has no tags")
        return found

    async def pull(
        self,
        ref: str,
        auth: RegistryAuth | None,
        platform: Platform | None,
        report: Report | None,
        owner: str,
        *,
        all_platforms: bool,
        peers: Peers | None = None,
        sources: Sequence[str] = (),
    ) -> Image:
        """See ImageStore."""
        reference = Reference.parse(ref)
        sources = tuple(sources) or SOURCES
        if peers is None or not reference.digest:
            peers, sources = None, SOURCES
        wanted = _Wanted(
            reference, platform or Platform.of_host(), auth, all_platforms, sources, peers
        )
        report = report or ignore
        if reference.digest and not all_platforms and (image := self._complete(wanted)):
            report(Progress("", "Image is up to date"))
            self._hold(owner, image)
            return image
        owners = self._owners.setdefault(wanted, Counter())
        owners.update([owner] if owner else [])
        self._catalog.pulling[reference.digest] += 1
        try:
            while True:
                image = await self._flights.run(wanted, lambda: self._pull(wanted, report, owners))
                if not owner or image.id in self._catalog.index.entries:
                    self._hold(owner, image)
                    return image
        finally:
            self._catalog.pulling[reference.digest] -= 1
            self._catalog.pulling += Counter()  # which drops those at 0
            owners.subtract([owner] if owner else [])
            if not +owners and self._owners.get(wanted) is owners:
                del self._owners[wanted]

    def _hold(self, owner: str, image: Image) -> None:
        if (entry := self._catalog.index.entries.get(image.id)) is not None:
            entry.used, self._catalog.uses_changed = time.time(), True
        if owner:
            self._catalog.leases.hold(owner, images=[image.id])

    def _complete(self, wanted: _Wanted) -> Image | None:
        try:
            image = image_of(self._catalog.index.find(str(wanted.reference)))
            check_platform(image.config, wanted.platform)
        except (NotFound, FailedPrecondition):
            return None
        return image

    async def _pull(self, wanted: _Wanted, report: Report, owners: Counter[str]) -> Image:
        try:
            with self.pulls.one():
                return await self._ask(
                    wanted.reference,
                    wanted.auth,
                    lambda repository: self._pull_from(repository, wanted, report, owners),
                    wanted.peers,
                    wanted.sources,
                )
        except OSError as error:
            self._catalog.give_back()  # whole layers are kept for the next pull, if there is room
            raise os_error(error, self._catalog.root) from error
        except ResourceExhausted:
            self._catalog.give_back()
            raise
        except InvalidSpec as error:
            raise InvalidSpec(f"image {wanted.reference}: {error}") from error

    async def _pull_from(
        self, repository: Repository, wanted: _Wanted, report: Report, owners: Counter[str]
    ) -> Image:
        catalog = self._catalog
        top = await repository.manifest(wanted.reference.target)
        chosen = await platforms.choose(repository, top, wanted.platform)
        manifest, own = chosen.manifest, chosen.document
        raw = chosen.config or await repository.blob(manifest.config)
        config, diff_ids = await in_thread(parse_config, raw)
        check_platform(config, wanted.platform)
        check_layers(catalog, len(diff_ids), len(manifest.layers))
        sources = [RemoteLayer(catalog, repository, layer, report) for layer in manifest.layers]
        documents = [*(index.data for index in chosen.indexes), own.data, raw]
        blobs = [*map(digest_of, documents), *(layer.digest for layer in manifest.layers)]
        others = Others(catalog, repository, report)
        if wanted.all_platforms and chosen.indexes:
            blobs += await others.find(chosen.indexes[0])
        coming = [*chain_ids(diff_ids), *blobs]
        with catalog.holding(coming):
            async with catalog.unsynced(coming):
                # documents first: others may ask for what comes
                await in_thread(lambda: catalog.keep(documents, sync=False))
                try:
                    layers = await Bringing(catalog, sync=False).bring(sources, diff_ids)
                finally:
                    for source in sources:
                        source.end()
                entry = Entry(
                    digest_of(raw), config, [la.chain_id for la in layers], size_of(layers)
                )
                entry.manifest, entry.blobs = digest_of(own.data), list(dict.fromkeys(blobs))
                entry.index = digest_of(chosen.indexes[0].data) if chosen.indexes else ""
                entry.added = entry.used = time.time()
                await others.bring()
                kept = await self._add(entry, wanted, chosen.top_digest, own.digest, owners)
        report(Progress("", "Pull complete"))
        return image_of(kept)

    async def _add(
        self, entry: Entry, wanted: _Wanted, top: str, own: str, owners: Counter[str]
    ) -> Entry:
        reference = wanted.reference
        undo = ExitStack()
        kept = self._catalog.index.add(
            entry,
            tag="" if reference.digest else reference.tagged,
            digest=reference.pinned(top),
            platform_digest=reference.pinned(own),
            undo=undo,
        )
        for owner in +owners:  # before anybody can remove it
            self._catalog.leases.hold(owner, images=[kept.id])
        await self._catalog.save(undo)
        return kept
