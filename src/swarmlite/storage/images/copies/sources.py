"""What images are copied from."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.model.references import Reference
from swarmlite.storage.images import archive
from swarmlite.storage.images.copies import places
from swarmlite.storage.images.copies.places import Place
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.manifest import (
    Descriptor,
    Index,
    compose,
    digest_of,
    layer_type,
    media_type_of,
    parse,
)
from swarmlite.storage.images.registry import Document, Repository
from swarmlite.storage.images.types import LayerSource, Limits

Progressed = Callable[[int], None]


class Source(ABC):
    """An image somewhere. What it raises is swarmlite's, one line each."""

    @abstractmethod
    async def top(self) -> Document:
        """What its name stands for."""

    @abstractmethod
    async def manifest(self, digest: str) -> Document:
        """A manifest or index below it."""

    @abstractmethod
    async def blob(self, descriptor: Descriptor) -> bytes:
        """A small one, checked."""

    @abstractmethod
    async def fetch(self, descriptor: Descriptor, target: Path, progress: Progressed) -> None:
        """Any blob into a file, checked."""


class RegistrySource(Source):
    """One in a registry."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def top(self) -> Document:
        """See Source."""
        return await self._repository.manifest(self._repository.reference.target)

    async def manifest(self, digest: str) -> Document:
        """See Source."""
        return await self._repository.manifest(digest)

    async def blob(self, descriptor: Descriptor) -> bytes:
        """See Source."""
        return await self._repository.blob(descriptor)

    async def fetch(self, descriptor: Descriptor, target: Path, progress: Progressed) -> None:
        """See Source."""
        await self._repository.download(descriptor, target, progress)


class FileSource(Source):
    """One in an archive, or in the folder of an OCI layout."""

    def __init__(self, top: Document, blobs: dict[str, LayerSource], limits: Limits) -> None:
        """`blobs` by digest: where each lies; manifests too."""
        self._top, self._blobs, self._limits = top, blobs, limits
        self._made: dict[str, bytes] = {}

    def add(self, data: bytes) -> None:
        """A document that no file holds."""
        self._made[digest_of(data)] = data

    async def top(self) -> Document:
        """See Source."""
        return self._top

    async def manifest(self, digest: str) -> Document:
        """See Source."""
        data = await in_thread(self._small, digest, self._limits.manifest_bytes)
        return Document(data, media_type_of(data), digest)

    async def blob(self, descriptor: Descriptor) -> bytes:
        """See Source."""
        return await in_thread(self._small, descriptor.digest, self._limits.config_bytes)

    async def fetch(self, descriptor: Descriptor, target: Path, progress: Progressed) -> None:
        """See Source."""
        await in_thread(self._copy, descriptor, target)
        progress(descriptor.size)

    def _part(self, digest: str) -> LayerSource:
        try:
            return self._blobs[digest]
        except KeyError:
            raise NotFound(f"blob {digest[:19]} is not in the archive") from None

    def _small(self, digest: str, limit: int) -> bytes:
        if (made := self._made.get(digest)) is not None:
            return made
        data = _read(self._part(digest), limit)
        if digest_of(data, digest.partition(":")[0]) != digest:
            raise InvalidSpec(f"blob {digest[:19]} of the archive has another content")
        return data

    def _copy(self, descriptor: Descriptor, target: Path) -> None:
        if (made := self._made.get(descriptor.digest)) is not None:
            target.write_bytes(made)
            return
        part = self._part(descriptor.digest)
        with Path(part.path).open("rb") as file, target.open("wb") as copy:
            file.seek(part.offset)
            archive.copy_part(file, copy, part.length, descriptor.digest)


def _read(part: LayerSource, limit: int) -> bytes:
    if part.length > limit:
        raise InvalidSpec(f"{part.path}: a manifest or config is {part.length} bytes long")
    with Path(part.path).open("rb") as file:
        file.seek(part.offset)
        return file.read(part.length)


def open_file(place: Place, scratch: Path, limits: Limits) -> FileSource:
    """An archive or a folder; `scratch` is for what has to be decompressed. Blocks.

    Raises NotFound, InvalidSpec, ResourceExhausted, OSError.
    """
    if place.kind == places.LAYOUT:
        folder = place.path
        index = _parsed_index(_file(folder / "index.json", limits))
        parts = {
            f"{path.parent.name}:{path.name}": LayerSource(str(path), 0, path.stat().st_size)
            for path in (folder / "blobs").glob("*/*")
        }
        return _of_layout(place, index, parts, limits)
    if not place.path.is_file():
        raise NotFound(f"{place.path} is not a file")
    copy = scratch / "archive"
    if not archive.is_plain(place.path):
        shutil.copyfile(place.path, copy)
    found = archive.opened(copy if copy.exists() else place.path, limits)
    if found.has("index.json") and found.has("oci-layout"):
        index = _parsed_index(found.read("index.json", limits.manifest_bytes))
        return _of_layout(place, index, found.blobs(), limits)
    return _of_docker(place, found, limits)


def _file(path: Path, limits: Limits) -> bytes:
    try:
        return _read(LayerSource(str(path), 0, path.stat().st_size), limits.manifest_bytes)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{path.parent} is not an OCI layout: it has no index.json") from error


def _parsed_index(data: bytes) -> Index:
    index = parse(data)
    if not isinstance(index, Index):
        raise InvalidSpec("index.json is not an index")
    return index


def _of_layout(
    place: Place, index: Index, blobs: dict[str, LayerSource], limits: Limits
) -> FileSource:
    chosen = [entry for entry in index.manifests if _answers(entry, place)]
    distinct = {entry.digest: entry for entry in chosen}
    if len(distinct) != 1:
        names = ", ".join(sorted({name for e in index.manifests for name in archive.names_of(e)}))
        why = "has no image" if not distinct else "has several images, name one:"
        raise NotFound(f"{place.path} {why} {place.name} (there is: {names or 'nothing named'})")
    (entry,) = distinct.values()
    if entry.digest not in blobs:
        raise InvalidSpec(f"{place.path} lacks the blob {entry.digest}")
    data = _read(blobs[entry.digest], limits.manifest_bytes)
    if digest_of(data, entry.digest.partition(":")[0]) != entry.digest:
        raise InvalidSpec(f"blob {entry.digest[:19]} of {place.path} has another content")
    return FileSource(Document(data, media_type_of(data), entry.digest), blobs, limits)


def _answers(entry: Descriptor, place: Place) -> bool:
    if not place.name:
        return True
    return place.name in archive.names_of(entry) or _same_name(place.name, entry)


def _same_name(name: str, entry: Descriptor) -> bool:
    try:
        wanted = Reference.parse(name).tagged
        return wanted in {Reference.parse(known).tagged for known in archive.names_of(entry)}
    except InvalidSpec:
        return False


def _of_docker(place: Place, found: archive.Archive, limits: Limits) -> FileSource:
    """What `docker save` wrote before it wrote layouts: the manifest is made here."""
    wanted = Reference.parse(place.name).tagged if place.name else ""
    images = [i for i in archive.docker_images(found) if not wanted or wanted in i.tags]
    if len(images) != 1:
        raise NotFound(f"{place.path} has {len(images)} images {place.name}: name one of it")
    (image,) = images
    blobs, layers = {}, []
    for part in image.layers:
        with Path(part.path).open("rb") as file:
            file.seek(part.offset)
            kind = layer_type(file.read(4))
        digest = archive.digest_of_part(part)
        blobs[digest] = part
        layers.append(Descriptor(kind, digest, part.length))
    manifest = compose(image.raw_config, layers)
    top = Document(manifest, media_type_of(manifest), digest_of(manifest))
    source = FileSource(top, blobs, limits)
    source.add(image.raw_config)
    return source
