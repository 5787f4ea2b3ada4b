"""The images of one host."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterable, Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound, ResourceExhausted
from swarmlite.model.references import Reference
from swarmlite.storage import trees
from swarmlite.storage.content import Content
from swarmlite.storage.images import archive, pruning
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.flight import Flights, Locks, in_thread
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.index import Index as ImageIndex
from swarmlite.storage.images.layers import Layer, LayerStore, Scratch, os_error
from swarmlite.storage.images.manifest import (
    Index,
    Manifest,
    chain_ids,
    check_platform,
    compose,
    digest_of,
    parse,
    parse_config,
    platforms,
    select,
)
from swarmlite.storage.images.registry import Document, Repository
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.sources import LocalLayer, RemoteLayer, Report, Source
from swarmlite.storage.images.types import (
    HistoryItem,
    Image,
    Inspection,
    Limits,
    Platform,
    Progress,
    Removed,
    Resolved,
    Usage,
)
from swarmlite.storage.leases import Leases, holding
from swarmlite.storage.trees import discard

# named here, because ImageStore.list hides the type in its class
Images = list[Image]
Paths = list[Path]
Layers = list[Layer]
Tasks = list[asyncio.Task[Layer]]
_DOWNLOADS = 3  # layers of one image at a time, as Docker
_MAX_INDEX_DEPTH = 3


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
        self.root = root
        self.settings = settings or RegistrySettings.from_environment()
        self.limits = limits or Limits.from_environment()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        self.content = Content(root)
        self.layers = LayerStore(root, self.limits, markers=markers)
        self.leases = leases or Leases(root / "leases")
        self._index = ImageIndex(root / "images.json")
        self._pulls: Flights[Image] = Flights()
        self._owners: dict[object, Counter[str]] = {}  # who waits for a pull
        self._locks = Locks()
        self._held: Counter[str] = Counter()
        self._uses_changed = False
        self._drop_broken_images()
        if collect:
            self.collect()

    # reading
    def get(self, ref: str) -> Image:
        """NAME, NAME:TAG, NAME@DIGEST, NAME:TAG@DIGEST or an id; raises NotFound, InvalidSpec."""
        return _image(self._index.find(ref))

    def list(self) -> Images:
        """All images, the newest first."""
        images = [_image(entry) for entry in self._index.entries.values()]
        return sorted(images, key=lambda image: (image.created, image.id), reverse=True)

    def lower_dirs(self, image: Image) -> Paths:
        """The image's directories for overlayfs, topmost first; never empty."""
        return self.layers.lower_dirs(image.layers)

    def use(self, ref: str, owner: str, *, sync: bool = False) -> Image:
        """`get`, with the image held for `owner` from then on: nothing comes in between."""
        entry = self._index.find(ref)
        entry.used, self._uses_changed = time.time(), True
        self.leases.hold(owner, images=[entry.id], sync=sync)
        return _image(entry)

    async def tag(self, ref: str, target: str) -> None:
        """Give an image another name, which is taken from whichever has it. Raises InvalidSpec."""
        reference = Reference.parse(target)
        if reference.digest:
            raise InvalidSpec(f"invalid image reference {target!r}: a new name has no digest")
        self._index.add(self._index.find(ref), tag=reference.tagged)
        await self._save()

    def inspect(self, ref: str) -> Inspection:
        """An image with all that its config and manifest say."""
        entry = self._index.find(ref)
        rootfs = entry.config.get("rootfs") or {}
        return Inspection(
            image=_image(entry),
            diff_ids=tuple(rootfs.get("diff_ids") or ()),
            history=self._history(entry),
            blobs=tuple(entry.blobs),
        )

    def history(self, ref: str) -> tuple[HistoryItem, ...]:
        """How an image was made, the newest step first."""
        return self._history(self._index.find(ref))

    def _history(self, entry: Entry) -> tuple[HistoryItem, ...]:
        items, layers = [], iter(entry.layers)
        for step in entry.config.get("history") or ():
            empty = step.get("empty_layer") is True
            items.append(
                HistoryItem(
                    created=str(step.get("created") or ""),
                    created_by=str(step.get("created_by") or ""),
                    comment=str(step.get("comment") or ""),
                    size_bytes=0 if empty else self.layers.size(next(layers, "")),
                    empty_layer=empty,
                )
            )
        return tuple(reversed(items))

    def usage(self) -> Usage:
        """What images take on the disk, and how much of it would be free without the unused."""
        used, entries = self.ids_in_use(), self.entries()
        kept = {chain for entry in entries if entry.id in used for chain in entry.layers}
        sizes = {chain: self.layers.size(chain) for entry in entries for chain in entry.layers}
        blobs = sum(self.content.info(digest).size_bytes for digest in self.content.digests())
        free = sum(size for chain, size in sizes.items() if chain not in kept)
        return Usage(len(entries), len(used), sum(sizes.values()), free, blobs)

    def entries(self) -> Sequence[Entry]:
        """The index's entries, to look at."""
        return tuple(self._index.entries.values())

    def ids_in_use(self) -> set[str]:
        """Ids of the images that somebody holds, or whose layers a container stands on."""
        standing = self.layers.used()
        return {
            entry.id
            for entry in self._index.entries.values()
            if self.leases.holders(image=entry.id) or not standing.isdisjoint(entry.layers[-1:])
        }

    # pulling
    async def resolve(
        self, ref: str, *, auth: RegistryAuth | None = None, platform: Platform | None = None
    ) -> Resolved:
        """Ask the registry which digest and platforms `ref` is now."""
        reference = Reference.parse(ref)
        async with Repository(reference, auth, self.settings, self.limits) as repository:
            document = await repository.manifest(reference.target)
            parsed = await in_thread(parse, document.data, document.media_type)
            if isinstance(parsed, Index):
                return Resolved(document.digest, platforms(parsed))
            raw = await repository.blob(parsed.config)
            config, _ = await in_thread(parse_config, raw)
            only = Platform(
                str(config.get("os") or "linux"),
                str(config.get("architecture") or ""),
                str(config.get("variant") or ""),
            )
            return Resolved(document.digest, (only,))

    async def pull(
        self,
        ref: str,
        *,
        auth: RegistryAuth | None = None,
        platform: Platform | None = None,
        progress: Report | None = None,
        owner: str = "",
    ) -> Image:
        """Bring an image here; one that is pinned by digest and complete is not asked for again.

        An identical pull in flight is shared; its progress goes to whoever started it. The image
        is held for `owner`, where one is named, before anybody else can remove it.
        """
        reference = Reference.parse(ref)
        wanted = platform or Platform.of_host()
        report = progress or _ignore
        if reference.digest and (image := self._complete(str(reference), wanted)):
            report(Progress("", "Image is up to date"))
            self._hold(owner, image)
            return image
        key = (str(reference), wanted, auth)
        owners = self._owners.setdefault(key, Counter())
        owners.update([owner] if owner else [])
        try:
            while True:
                image = await self._pulls.run(
                    key, lambda: self._pull(reference, auth, wanted, report, owners)
                )
                if not owner or image.id in self._index.entries:
                    self._hold(owner, image)
                    return image
        finally:
            owners.subtract([owner] if owner else [])
            if not +owners and self._owners.get(key) is owners:
                del self._owners[key]

    def _hold(self, owner: str, image: Image) -> None:
        if (entry := self._index.entries.get(image.id)) is not None:
            entry.used, self._uses_changed = time.time(), True
        if owner:
            self.leases.hold(owner, images=[image.id])

    def _complete(self, ref: str, wanted: Platform) -> Image | None:
        try:
            image = self.get(ref)
            check_platform(image.config, wanted)
        except (NotFound, FailedPrecondition):
            return None
        return image

    async def _pull(
        self,
        reference: Reference,
        auth: RegistryAuth | None,
        wanted: Platform,
        report: Report,
        owners: Counter[str],
    ) -> Image:
        try:
            async with Repository(reference, auth, self.settings, self.limits) as repository:
                return await self._pull_from(repository, reference, wanted, report, owners)
        except OSError as error:
            raise os_error(error, self.root) from error
        except InvalidSpec as error:
            raise InvalidSpec(f"image {reference}: {error}") from error

    async def _pull_from(
        self,
        repository: Repository,
        reference: Reference,
        wanted: Platform,
        report: Report,
        owners: Counter[str],
    ) -> Image:
        top, own, manifest = await _manifest(repository, reference.target, wanted)
        raw = await repository.blob(manifest.config)
        config, diff_ids = await in_thread(parse_config, raw)
        check_platform(config, wanted)
        self._check_layers(len(diff_ids), len(manifest.layers))
        sources = [
            RemoteLayer(self.content, repository, layer, report) for layer in manifest.layers
        ]
        documents = [top.data, own.data, raw]
        blobs = [*map(digest_of, documents), *(layer.digest for layer in manifest.layers)]
        with self._holding([*chain_ids(diff_ids), *blobs]):
            layers = await self._bring(sources, diff_ids)
            entry = Entry(digest_of(raw), config, [la.chain_id for la in layers], _size(layers))
            entry.manifest, entry.blobs = digest_of(own.data), list(dict.fromkeys(blobs))
            entry.added = entry.used = time.time()
            await in_thread(self._keep, documents)
            kept = self._index.add(
                entry,
                tag="" if reference.digest else reference.tagged,
                digest=reference.pinned(top.digest),
                platform_digest=reference.pinned(own.digest),
            )
            for owner in +owners:  # before anybody can remove it
                self.leases.hold(owner, images=[kept.id])
            await self._index.save()
        report(Progress("", "Pull complete"))
        return _image(kept)

    def _keep(self, documents: Sequence[bytes]) -> None:
        for data in documents:
            self.content.put(data)

    def _check_layers(self, diff_ids: int, layers: int) -> None:
        if diff_ids != layers:
            raise InvalidSpec(f"its config names {diff_ids} layers, its manifest {layers}")
        if layers > self.limits.layers:
            raise InvalidSpec(f"it has {layers} layers, more than {self.limits.layers}")

    async def _bring(
        self,
        sources: Sequence[Source],
        diff_ids: Sequence[str],
        hold: Callable[[str], None] = lambda _: None,
    ) -> Layers:
        """Fetch and unpack all layers side by side, each committed after the one below it.

        `hold` is told of each blob before it is one of those kept.
        """
        chain = chain_ids(diff_ids)
        limit = asyncio.Semaphore(_DOWNLOADS)
        tasks: Tasks = []
        unpacked: Counter[str] = Counter()
        with self._holding(chain):
            try:
                for index, source in enumerate(sources):
                    below = tasks[-1] if tasks else None
                    work = self._layer(
                        source, diff_ids[index], chain[: index + 1], limit, below, unpacked, hold
                    )
                    tasks.append(asyncio.create_task(work))
                if tasks:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
                return _results(tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _layer(
        self,
        source: Source,
        diff_id: str,
        chain: Sequence[str],
        limit: asyncio.Semaphore,
        below: asyncio.Task[Layer] | None,
        unpacked: Counter[str],
        hold: Callable[[str], None],
    ) -> Layer:
        """One layer; a pull that wants the same waits, and goes on itself where this one fails."""
        # two kinds of key: an uncompressed base layer's digest is its chain id too
        async with self._locks.hold(("layer", chain[-1])):
            if layer := self.layers.get(chain[-1]):
                source.say("Already exists")
                return layer
            async with limit, self._locks.hold(("source", source.key)):
                scratch = await self._unpack(source, diff_id, base=below is None)
                try:
                    self._check_size(scratch, unpacked)
                    await in_thread(source.stage)
                    hold(source.digest)
                    await self.layers.settle(scratch, chain[-1])
                    await in_thread(source.keep)
                except BaseException as error:
                    self.layers.drop(scratch)
                    if isinstance(error, (ResourceExhausted, InvalidSpec, OSError)):
                        source.abandon()
                    raise
            try:
                if below is not None:
                    await below
                return await self.layers.commit(scratch, chain[:-1])
            except BaseException:
                self.layers.drop(scratch)
                raise

    async def _unpack(self, source: Source, diff_id: str, *, base: bool) -> Scratch:
        try:
            part = await source.fetch()
            source.say("Extracting")
            scratch = await self.layers.unpack(part, base=base, name=source.name)
        except (ResourceExhausted, InvalidSpec, OSError):
            source.abandon()
            raise
        if scratch.unpacked.diff_id != diff_id:
            discard(scratch.path)
            source.abandon()
            raise InvalidSpec(
                f"layer {source.name} unpacks to {scratch.unpacked.diff_id}, "
                f"but the config names {diff_id}"
            )
        return scratch

    def _check_size(self, scratch: Scratch, unpacked: Counter[str]) -> None:
        unpacked["bytes"] += scratch.unpacked.size_bytes
        if unpacked["bytes"] > self.limits.image_bytes:
            raise ResourceExhausted(
                f"the image unpacks to more than {self.limits.image_bytes >> 20} MiB"
            )

    # loading
    async def load(
        self, stream: AsyncIterable[bytes] | BinaryIO, progress: Report | None = None
    ) -> Images:
        """Take in a tar of `docker save` or an OCI layout, plain or compressed; all images or none.

        `stream` gives pieces, or is a file, which is read in a thread.
        """
        report = progress or _ignore
        wanted = Platform.of_host()
        folder = Path(tempfile.mkdtemp(prefix="load-", dir=self.root / "tmp"))
        try:
            path = folder / "archive"
            await archive.spool(stream, path, self.limits)
            found = await asyncio.to_thread(archive.read, path, wanted, self.limits)
            return await self._load(found, wanted, report)
        except OSError as error:
            raise os_error(error, self.root) from error
        finally:
            discard(folder)

    async def _load(
        self, found: Sequence[archive.Archived], wanted: Platform, report: Report
    ) -> Images:
        brought = []
        with ExitStack() as holding:
            for image in found:
                check_platform(image.config, wanted)
                self._check_layers(len(image.diff_ids), len(image.layers))
                holding.enter_context(self._holding(chain_ids(image.diff_ids)))
                brought.append(await self._load_one(image, report, holding))
            kept = []
            for entry, image in zip(brought, found, strict=True):
                for tag in image.tags or ("",):
                    added = self._index.add(entry, tag=tag)
                kept.append(_named(_image(added), image.tags))
            await self._index.save()
        report(Progress("", "Loaded"))
        return kept

    async def _load_one(self, image: archive.Archived, report: Report, holding: ExitStack) -> Entry:
        digests = image.layer_digests or [""] * len(image.layers)
        sources = [
            LocalLayer(self.content, diff_id[7:19], part, report, digest)
            for diff_id, part, digest in zip(image.diff_ids, image.layers, digests, strict=True)
        ]

        def hold(digest: str) -> None:
            holding.enter_context(self._holding([digest]))

        layers = await self._bring(sources, image.diff_ids, hold)
        kept = []
        for source in sources:  # of layers that were unpacked already too
            await in_thread(source.stage)
            hold(source.digest)
            kept.append(await in_thread(source.keep))
        manifest = image.raw_manifest or compose(image.raw_config, kept)
        documents = [manifest, image.raw_config]
        blobs = [*map(digest_of, documents), *(layer.digest for layer in kept)]
        holding.enter_context(self._holding(blobs))
        await in_thread(self._keep, documents)
        entry = Entry(image.id, image.config, [la.chain_id for la in layers], _size(layers))
        entry.manifest, entry.blobs = digest_of(manifest), list(dict.fromkeys(blobs))
        entry.added = entry.used = time.time()
        return entry

    # removing
    async def remove(
        self, ref: str, *, force: bool = False, in_use: Collection[str] = ()
    ) -> Removed:
        """Take a name from an image, and the image away with its last name.

        By id: all names, which needs `force` where there are several. An image that is leased, or
        whose id is in `in_use`, loses its last name only with `force`, and never its layers.
        Raises NotFound, FailedPrecondition.
        """
        entry = self._index.find(ref)
        holders = self.leases.holders(image=entry.id)
        used = entry.id in in_use or bool(holders)
        names = _names_to_drop(entry, ref)
        if names is None and len(entry.tags) > 1 and not force:
            raise FailedPrecondition(
                f"image {ref} has several names, use force: {', '.join(entry.tags)}"
            )
        untagged = entry.names if names is None else names
        last = not set(entry.tags) - set(untagged)
        if last and used and not force:
            raise FailedPrecondition(f"image {ref} is in use by {holding(holders)}")
        entry.tags = [tag for tag in entry.tags if tag not in untagged]
        entry.digests = [name for name in entry.digests if name not in (names or ())]
        if not last or used:
            await self._save()
            return Removed(untagged=tuple(untagged))
        untagged = list(dict.fromkeys([*untagged, *entry.digests]))
        return await self._delete([entry], untagged)

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
        chosen = pruning.matching(
            self._index.entries.values(),
            {*in_use, *self.ids_in_use()},
            all_unused=all_unused,
            before=before,
            labels=labels,
            created=_created,
        )
        return await self._delete(chosen, [name for entry in chosen for name in entry.names])

    async def delete(self, ids: Collection[str], *, wait: bool = False) -> Removed:
        """Remove images whatever their names; with `wait` their files are gone when it returns."""
        entries = [self._index.entries[key] for key in ids if key in self._index.entries]
        names = [name for entry in entries for name in entry.names]
        removed = await self._delete(entries, names)
        if wait:
            await in_thread(trees.wait_for_discards)
        return removed

    async def save_uses(self) -> None:
        """Keep on disk when each image was used last, where that changed since the last save."""
        if self._uses_changed:
            self._uses_changed = False
            await self._save()

    async def _save(self) -> None:
        try:
            await self._index.save()
        except OSError as error:
            raise os_error(error, self.root) from error

    async def _delete(self, entries: Sequence[Entry], untagged: Sequence[str]) -> Removed:
        for entry in entries:
            self._index.entries.pop(entry.id, None)
        await self._save()
        gone, layers, freed = [entry.id for entry in entries], *self._collect()
        deleted = (*gone, *(layer.chain_id for layer in layers))
        return Removed(tuple(untagged), deleted, freed, tuple(gone))

    def collect(self) -> Sequence[str]:
        """Delete layers and blobs that nothing needs any more; the layers' chain ids."""
        return [layer.chain_id for layer in self._collect()[0]]

    def _collect(self) -> tuple[Layers, int]:
        """The layers that went, and the bytes that they and blobs had taken."""
        entries = self._index.entries.values()
        held = {digest for owner in self.leases.owners() for digest in self._leased(owner)}
        needed = {chain for entry in entries for chain in entry.layers} | set(self._held)
        layers = self.layers.collect(needed)
        blobs = {digest for entry in entries for digest in entry.blobs} | set(self._held) | held
        freed = self.content.collect(blobs)
        return layers, freed + _size(layers)

    def _leased(self, owner: str) -> set[str]:
        return self.leases.held(owner).contents

    @contextmanager
    def _holding(self, chain: Collection[str]) -> Iterator[None]:
        """Keep layers from being collected while a pull counts on them."""
        self._held.update(chain)
        try:
            yield
        finally:
            self._held.subtract(chain)
            self._held += Counter()

    def _drop_broken_images(self) -> None:
        """An image whose layers someone deleted is gone."""
        entries = self._index.entries
        for entry in [*entries.values()]:
            if any(self.layers.get(chain_id) is None for chain_id in entry.layers):
                del entries[entry.id]


async def _manifest(
    repository: Repository, target: str, wanted: Platform
) -> tuple[Document, Document, Manifest]:
    """The document that `target` names, and the manifest for a platform, as it came and parsed."""
    top = document = await repository.manifest(target)
    for _ in range(_MAX_INDEX_DEPTH):
        parsed = await in_thread(parse, document.data, document.media_type)
        if isinstance(parsed, Manifest):
            return top, document, parsed
        document = await repository.manifest(select(parsed, wanted).digest)
    raise InvalidSpec(f"its index leads to further indexes more than {_MAX_INDEX_DEPTH} deep")


def _results(tasks: Tasks) -> Layers:
    """The layers; raises the first real failure, not the cancellations that follow it."""
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()):
            raise error
    return [task.result() for task in tasks]


def _names_to_drop(entry: Entry, ref: str) -> list[str] | None:
    """The names that `ref` stands for; None when it is an id."""
    if ref in (entry.id, entry.id.removeprefix("sha256:")):
        return None
    try:
        reference = Reference.parse(ref)
    except InvalidSpec:
        return None
    if reference.digest:
        return [name for name in entry.digests if name == reference.pinned(reference.digest)]
    return [reference.tagged] if reference.tagged in entry.tags else None


def _image(entry: Entry) -> Image:
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
    )


def _created(entry: Entry) -> float:
    """When the image was made; one that does not say so is as old as can be."""
    # Go writes nanoseconds, Python reads microseconds
    text = re.sub(r"(\.\d{6})\d+", r"\1", str(entry.config.get("created")))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _named(image: Image, tags: Sequence[str]) -> Image:
    """The image under the names that an archive gives it, and no others that it has here."""
    return replace(image, repo_tags=tuple(tag for tag in image.repo_tags if tag in tags))


def _size(layers: Sequence[Layer]) -> int:
    return sum(layer.size_bytes for layer in layers)


def _ignore(_: Progress) -> None:
    pass
