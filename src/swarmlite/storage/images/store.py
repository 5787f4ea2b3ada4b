"""The images of one host."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from swarmlite.errors import InvalidSpec
from swarmlite.model.references import Reference
from swarmlite.storage.images import describing, indexing, saving
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.catalog import Catalog, Report, image_of
from swarmlite.storage.images.giving import Giving
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.layering import Layering
from swarmlite.storage.images.loading import Loading
from swarmlite.storage.images.making import Making, Readable
from swarmlite.storage.images.peers import Peers
from swarmlite.storage.images.pulling import Pulling
from swarmlite.storage.images.pushing import Pushing
from swarmlite.storage.images.removing import Removing
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.types import (
    HistoryItem,
    Image,
    Inspection,
    Limits,
    Platform,
    Pushed,
    Removed,
    Resolved,
    Usage,
)
from swarmlite.storage.leases import Leases
from swarmlite.tallies import Outcomes

# named here, because ImageStore.list hides the type in its class
Images = list[Image]
Paths = list[Path]
Names = list[str]
PushedTags = list[Pushed]


class ImageStore:
    """Images below `root`, which one process at a time may use, on one event loop.

    `root`: `images.json`, `layers/`, `l/` (see `layers`), `blobs/` and `ingest/` (see `content`),
    `tmp/`. What an image came as is kept beside its unpacked layers, to be given on as it was.
    Errors carry one line: NotFound, PermissionDenied, Unavailable, InvalidSpec (a bad reference or
    image), ResourceExhausted (the disk is full or a limit passed), FailedPrecondition. A pull or
    load that fails or is cancelled leaves no image, and no layer but whole ones that go with the
    next removal.
    """

    def __init__(
        self,
        root: Path,
        *,
        settings: RegistrySettings | None = None,
        limits: Limits | None = None,
        leases: Leases | None = None,
        collect: bool = True,
        markers: bool = False,
    ) -> None:
        """With `collect` false, layers of no image stay until `collect`: users come first.

        `markers`: see LayerStore.
        """
        settings = settings or RegistrySettings.from_environment()
        limits = limits or Limits.from_environment()
        self._catalog = catalog = Catalog(root, settings, limits, leases, markers=markers)
        self.root, self.limits = root, limits
        self.content, self.layers, self.leases = catalog.content, catalog.layers, catalog.leases
        self._pulling, self._pushing = Pulling(catalog), Pushing(catalog)
        self._loading, self._making = Loading(catalog), Making(catalog)
        self._removing = Removing(catalog)
        self.layering = Layering(catalog, self._making)
        self.giving = Giving(catalog)
        self.listeners = catalog.index.listeners
        if collect:
            self.collect()

    @property
    def settings(self) -> RegistrySettings:
        """How registries are spoken to."""
        return self._catalog.settings

    @settings.setter
    def settings(self, settings: RegistrySettings) -> None:
        self._catalog.settings = settings

    @property
    def pulls(self) -> Outcomes:
        """Pulls of this process's life, and how they ended."""
        return self._pulling.pulls

    # reading
    def get(self, ref: str) -> Image:
        """NAME, NAME:TAG, NAME@DIGEST, NAME:TAG@DIGEST or an id; raises NotFound, InvalidSpec."""
        return image_of(self._catalog.index.find(ref))

    def list(self) -> Images:
        """All images, the newest first."""
        images = [image_of(entry) for entry in self.entries()]
        return sorted(images, key=lambda image: (image.created, image.id), reverse=True)

    def lower_dirs(self, image: Image) -> Paths:
        """The image's directories for overlayfs, topmost first; never empty."""
        return self.layers.lower_dirs(image.layers)

    def use(self, ref: str, owner: str, *, sync: bool = False) -> Image:
        """`get`, with the image held for `owner` from then on: nothing comes in between."""
        entry = self._catalog.index.find(ref)
        entry.used, self._catalog.uses_changed = time.time(), True
        self.leases.hold(owner, images=[entry.id], sync=sync)
        return image_of(entry)

    def inspect(self, ref: str) -> Inspection:
        """An image with all that its config and manifests say."""
        return describing.inspect(self._catalog, ref)

    def history(self, ref: str) -> tuple[HistoryItem, ...]:
        """How an image was made, the newest step first."""
        return describing.history(self._catalog, self._catalog.index.find(ref))

    def usage(self) -> Usage:
        """What images take on the disk, and how much of it would be free without the unused."""
        return describing.usage(self._catalog)

    def entries(self) -> Sequence[Entry]:
        """The index's entries, to look at."""
        return tuple(self._catalog.index.entries.values())

    def ids_in_use(self) -> set[str]:
        """Ids of the images that somebody holds, or whose layers a container stands on."""
        return self._catalog.ids_in_use()

    # changing
    async def tag(self, ref: str, target: str) -> None:
        """Give an image another name, which is taken from whichever has it. Raises InvalidSpec."""
        tag = tag_of(target)
        undo = ExitStack()
        self._catalog.index.add(self._catalog.index.find(ref), tag=tag, undo=undo)
        await self._catalog.save(undo)

    async def make(
        self,
        config: dict[str, Any],
        layer: Readable | AsyncIterable[bytes],
        *,
        base: Image | None = None,
        tag: str = "",
    ) -> Image:
        """An image of `config` (without its rootfs) and one more layer on those of `base`.

        `layer` is a tar, plain or compressed; what can be read is read in a thread. `base`
        is held by the caller; `tag` is a whole name (`tag_of`).
        """
        return await self._making.make(config, layer, base=base, tag=tag)

    async def load(
        self,
        stream: AsyncIterable[bytes] | BinaryIO,
        progress: Report | None = None,
        *,
        platform: Platform | None = None,
    ) -> Images:
        """Take in a tar of `docker save` or an OCI layout, plain or compressed; all images or none.

        `stream` gives pieces, or is a file, which is read in a thread.
        """
        return await self._loading.load(stream, progress, platform)

    def save(
        self,
        refs: Sequence[str],
        *,
        platform: Platform | None = None,
        all_platforms: bool = False,
        names: Sequence[str] = (),
    ) -> Iterator[bytes]:
        """A tar that `load` and `docker load` take, which is an OCI layout too; see `saving`."""
        return saving.save(self._catalog, refs, platform, all_platforms=all_platforms, names=names)

    async def untag(self, name: str) -> None:
        """Take one name away, whatever image has it; the image stays, until somebody collects."""
        for entry in self._catalog.index.entries.values():
            if name in entry.tags:
                entry.tags.remove(name)
        await self._catalog.save()

    async def bind(
        self, ids: Sequence[str], tags: Sequence[str], annotations: Mapping[str, str] | None = None
    ) -> bytes:
        """An index of images of several platforms; see indexing.bind."""
        return await indexing.bind(self._catalog, ids, tags, annotations)

    # registries
    async def resolve(
        self, ref: str, *, auth: RegistryAuth | None = None, platform: Platform | None = None
    ) -> Resolved:
        """Ask the registry which digest and platforms `ref` is now."""
        return await self._pulling.resolve(ref, auth)

    async def tags(self, name: str, *, auth: RegistryAuth | None = None) -> Names:
        """Every tag that a registry has of NAME. Raises NotFound where there is none."""
        return await self._pulling.tags(name, auth)

    def resolve_here(self, ref: str) -> Resolved | None:
        """What an image of this host is known as to others, under its name; None without one.

        The digest is a registry's where one gave it under this name. Blocks for small files.
        """
        return describing.resolve(self._catalog, ref)

    async def pull(
        self,
        ref: str,
        *,
        auth: RegistryAuth | None = None,
        platform: Platform | None = None,
        all_platforms: bool = False,
        progress: Report | None = None,
        owner: str = "",
        peers: Peers | None = None,
        sources: Sequence[str] = (),
    ) -> Image:
        """Bring an image here; one that is pinned by digest and complete is not asked for again.

        An identical pull in flight is shared; its progress goes to whoever started it. The image
        is held for `owner`, where one is named, before anybody else can remove it. With
        `all_platforms` the blobs of the others are kept too, to be given on. What is pinned is
        asked of `peers` as well; `sources` (peers.SOURCES) is in which order, or of whom only.
        """
        return await self._pulling.pull(
            ref,
            auth,
            platform,
            progress,
            owner,
            all_platforms=all_platforms,
            peers=peers,
            sources=sources,
        )

    async def push(
        self,
        ref: str,
        *,
        auth: RegistryAuth | None = None,
        platform: Platform | None = None,
        all_platforms: bool = False,
        all_tags: bool = False,
        progress: Report | None = None,
    ) -> PushedTags:
        """Give a registry what an image came as; with `all_tags`, every tag of the repository."""
        return await self._pushing.push(
            ref, auth, platform, progress, all_platforms=all_platforms, all_tags=all_tags
        )

    # removing
    async def remove(
        self, ref: str, *, force: bool = False, in_use: Collection[str] = ()
    ) -> Removed:
        """Take a name from an image, and the image away with its last name.

        By id: all names, which needs `force` where there are several. An image that is leased, or
        whose id is in `in_use`, loses its last name only with `force`, and never its layers.
        Raises NotFound, FailedPrecondition.
        """
        return await self._removing.remove(ref, force=force, in_use=in_use)

    async def prune(
        self,
        *,
        all_unused: bool = False,
        before: float | None = None,
        labels: Callable[[dict[str, str]], bool] = lambda _: True,
        in_use: Collection[str] = (),
    ) -> Removed:
        """Remove images without a tag (with `all_unused`: all) that nobody uses.

        `before` takes only those that were created earlier (seconds since the epoch); `labels`
        says yes to an image's labels.
        """
        return await self._removing.prune(
            all_unused=all_unused, before=before, labels=labels, in_use=in_use
        )

    async def delete(self, ids: Collection[str], *, wait: bool = False) -> Removed:
        """Remove images whatever their names; with `wait` their files are gone when it returns."""
        return await self._removing.delete(ids, wait=wait)

    async def save_uses(self) -> None:
        """Keep on disk when each image was used last, where that changed since the last save."""
        if self._catalog.uses_changed:
            self._catalog.uses_changed = False
            await self._catalog.save()

    def collect(self) -> Sequence[str]:
        """Delete layers and blobs that nothing needs any more; the layers' chain ids."""
        return [layer.chain_id for layer in self._catalog.collect()[0]]


def tag_of(name: str) -> str:
    """NAME:TAG of a new name as the store keeps it. Raises InvalidSpec."""
    reference = Reference.parse(name)
    if reference.digest:
        raise InvalidSpec(f"invalid image reference {name!r}: a new name has no digest")
    return reference.tagged
