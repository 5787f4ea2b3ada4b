"""Tars of images: what `docker save` writes, and OCI image layouts.

Sources: OCI image-spec (image-layout.md), Docker image specification v1.2 (combined image tar).
Layers are unpacked from where they lie in the archive; nothing else of it is unpacked.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
from collections.abc import AsyncIterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.model.references import Reference, is_digest
from swarmlite.storage.images.manifest import (
    Descriptor,
    Index,
    digest_of,
    is_attestation,
    parse,
    parse_config,
    select,
)
from swarmlite.storage.images.types import LayerSource, Limits, Platform
from swarmlite.storage.images.unpack.errors import BadLayer, TooBig
from swarmlite.storage.images.unpack.extract import clean_path
from swarmlite.storage.images.unpack.streams import CHUNK, FilePart, decompressed
from swarmlite.storage.images.unpack.tar import FILE, HARDLINK, SYMLINK, TarReader

_MAX_MEMBERS = 100_000
_MAX_LINKS = 8
_MAX_DEPTH = 3
_CHECK_BYTES = 64 << 20
_REF_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True)
class Archived:
    """One image of an archive."""

    id: str
    config: dict[str, Any]
    diff_ids: tuple[str, ...]
    layers: tuple[LayerSource, ...]
    tags: tuple[str, ...]
    raw_config: bytes
    raw_manifest: bytes = b""
    """Of a layout; `docker save` writes none that a registry would take."""
    layer_digests: tuple[str, ...] = ()
    raw_indexes: tuple[bytes, ...] = ()
    """Those that led to the manifest, the one that the layout names first."""


async def spool(stream: AsyncIterable[bytes] | BinaryIO, target: Path, limits: Limits) -> None:
    """Write a stream into a file; raises ResourceExhausted, OSError (no room is left, too)."""
    have = checked = 0
    with target.open("wb") as file:
        async for piece in _pieces(stream):
            have += len(piece)
            if have > limits.archive_bytes:
                raise ResourceExhausted(f"the archive is longer than {limits.archive_bytes} bytes")
            if have - checked >= _CHECK_BYTES or not checked:
                checked = have
                _check_disk(target, limits)
            await asyncio.to_thread(file.write, piece)


async def _pieces(stream: AsyncIterable[bytes] | BinaryIO) -> AsyncIterable[bytes]:
    if isinstance(stream, AsyncIterable):
        async for piece in stream:
            yield piece
    else:
        while piece := await asyncio.to_thread(stream.read, 1 << 20):
            yield piece


def read(path: Path, wanted: Platform, limits: Limits) -> list[Archived]:
    """The images in the archive `path`, which may be compressed: it is replaced by plain tar then.

    Runs in a thread. Raises InvalidSpec, ResourceExhausted, FailedPrecondition (no image for
    `wanted`), OSError.
    """
    archive = opened(path, limits)
    # Docker writes both since version 25; the layout has the manifests that registries take
    if archive.has("index.json") and archive.has("oci-layout"):
        return _layout_images(archive, wanted)
    if archive.has("manifest.json"):
        return docker_images(archive)
    if archive.has("index.json"):
        return _layout_images(archive, wanted)
    raise InvalidSpec("the archive has neither manifest.json nor index.json: it holds no images")


def opened(path: Path, limits: Limits) -> Archive:
    """An archive's members; one that is compressed is replaced by plain tar. Raises as `read`."""
    try:
        _decompress(path, limits)
        return Archive(path, limits)
    except BadLayer as error:
        raise InvalidSpec(f"the archive is refused: {error}") from error
    except TooBig as error:
        raise ResourceExhausted(f"the archive is refused: {error}") from error


def is_plain(path: Path) -> bool:
    """Whether it is no compressed archive."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, 4, 0) == decompressed(FilePart(fd)).read(4)
    except BadLayer:
        return False
    finally:
        os.close(fd)


def copy_part(source: BinaryIO, target: BinaryIO, length: int, digest: str) -> None:
    """Copy `length` bytes whose digest is known. Raises InvalidSpec where they are others."""
    algorithm = digest.partition(":")[0]
    state = hashlib.new(algorithm)
    while length and (piece := source.read(min(length, CHUNK))):
        length -= len(piece)
        state.update(piece)
        target.write(piece)
    if length or f"{algorithm}:{state.hexdigest()}" != digest:
        raise InvalidSpec(f"blob {digest[:19]} of the archive has another content")


def digest_of_part(part: LayerSource) -> str:
    """Of a part of a file. Blocks."""
    state = hashlib.sha256()
    with Path(part.path).open("rb") as file:
        file.seek(part.offset)
        left = part.length
        while left and (piece := file.read(min(left, CHUNK))):
            left -= len(piece)
            state.update(piece)
    return f"sha256:{state.hexdigest()}"


def names_of(descriptor: Descriptor) -> tuple[str, ...]:
    """The names that an entry of a layout's index bears."""
    annotations = dict(descriptor.annotations)
    return tuple(annotations[key] for key in _REF_NAMES if annotations.get(key))


def _decompress(path: Path, limits: Limits) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        raw = FilePart(fd)
        stream = decompressed(raw)
        if os.pread(fd, 4, 0) == stream.read(4):
            return
        stream = decompressed(FilePart(fd))
        plain = path.with_suffix(".plain")
        have = 0
        with plain.open("wb") as file:
            while piece := stream.read(CHUNK):
                have += len(piece)
                if have > limits.archive_bytes:
                    raise TooBig(f"it unpacks to more than {limits.archive_bytes} bytes")
                if have % _CHECK_BYTES < CHUNK:
                    _check_disk(plain, limits)
                file.write(piece)
        plain.rename(path)
    finally:
        os.close(fd)


def _check_disk(path: Path, limits: Limits) -> None:
    disk = os.statvfs(path)
    if disk.f_bavail * disk.f_frsize < limits.free_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class Archive:
    """Where each member of a tar lies."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for count, member in enumerate(TarReader(FilePart(fd))):
                name = clean_path(member.name)
                if member.kind == FILE:
                    self._files[name] = (member.offset, member.size)
                elif member.kind == SYMLINK:
                    above = name.rpartition("/")[0]
                    self._links[name] = clean_path(f"{above}/{member.linkname}", clamp=True)
                elif member.kind == HARDLINK:
                    self._links[name] = clean_path(member.linkname)
                if count > _MAX_MEMBERS:
                    raise TooBig(f"it has more than {_MAX_MEMBERS} members")
        finally:
            os.close(fd)

    def has(self, name: str) -> bool:
        """Whether it holds a file of this name."""
        return name in self._files

    def part(self, name: object) -> LayerSource:
        """Where a member lies, links followed; raises InvalidSpec."""
        if not isinstance(name, str):
            raise InvalidSpec("the archive's manifest names a file that is not a string")
        wanted = name
        for _ in range(_MAX_LINKS):
            if wanted in self._files:
                return LayerSource(str(self.path), *self._files[wanted])
            wanted = self._links.get(wanted, "")
        raise InvalidSpec(f"the archive's manifest names {name[:100]!r}, which it does not hold")

    def blobs(self) -> dict[str, LayerSource]:
        """Of a layout, by digest."""
        found = {}
        for name, (offset, size) in self._files.items():
            folder, _, rest = name.partition("/")
            digest = rest.replace("/", ":")
            if folder == "blobs" and is_digest(digest):
                found[digest] = LayerSource(str(self.path), offset, size)
        return found

    def read(self, name: object, limit: int) -> bytes:
        """A small file. Raises InvalidSpec."""
        part = self.part(name)
        if part.length > limit:
            raise InvalidSpec(f"{str(name)[:100]!r} in the archive is {part.length} bytes long")
        with self.path.open("rb") as file:
            return os.pread(file.fileno(), part.length, part.offset)

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A blob of a layout, checked."""
        algorithm, _, digits = descriptor.digest.partition(":")
        data = self.read(f"blobs/{algorithm}/{digits}", limit)
        if digest_of(data, algorithm) != descriptor.digest:
            raise InvalidSpec(f"blob {descriptor.digest} of the archive has another content")
        return data


def docker_images(archive: Archive) -> list[Archived]:
    """The images that manifest.json names. Raises InvalidSpec."""
    try:
        manifest = json.loads(archive.read("manifest.json", archive.limits.manifest_bytes))
    except (ValueError, RecursionError) as error:
        raise InvalidSpec("the archive's manifest.json is not JSON") from error
    if not isinstance(manifest, list) or not all(isinstance(entry, dict) for entry in manifest):
        raise InvalidSpec("the archive's manifest.json is not a list of images")
    images = []
    for entry in manifest:
        raw = archive.read(entry.get("Config"), archive.limits.config_bytes)
        names = entry.get("Layers") or []
        tags = entry.get("RepoTags") or []
        if not isinstance(names, list) or not isinstance(tags, list):
            raise InvalidSpec(
                "the archive's manifest.json has Layers or RepoTags that is not a list"
            )
        layers = tuple(archive.part(name) for name in names)
        images.append(_archived(raw, layers, tuple(_tag(tag) for tag in tags)))
    return images


def _layout_images(archive: Archive, wanted: Platform) -> list[Archived]:
    index = parse(archive.read("index.json", archive.limits.manifest_bytes))
    if not isinstance(index, Index):
        raise InvalidSpec("the archive's index.json is not an index")
    images: dict[str, Archived] = {}
    for descriptor in index.manifests:
        if is_attestation(descriptor):
            continue
        data = archive.blob(descriptor, archive.limits.manifest_bytes)
        document = parse(data, descriptor.media_type)
        indexes = []
        for _ in range(_MAX_DEPTH):
            if not isinstance(document, Index):
                break
            indexes.append(data)
            chosen = select(document, wanted)
            data = archive.blob(chosen, archive.limits.manifest_bytes)
            document = parse(data, chosen.media_type)
        if isinstance(document, Index):
            raise InvalidSpec(f"the archive's index leads to indexes more than {_MAX_DEPTH} deep")
        raw = archive.blob(document.config, archive.limits.config_bytes)
        layers = tuple(
            archive.part(f"blobs/{layer.digest.replace(':', '/')}") for layer in document.layers
        )
        image = _archived(raw, layers, _annotated_tags(descriptor))
        digests = tuple(layer.digest for layer in document.layers)
        image = replace(image, raw_manifest=data, layer_digests=digests, raw_indexes=tuple(indexes))
        if before := images.get(image.id):  # one entry a name
            image = replace(image, tags=(*before.tags, *image.tags))
        images[image.id] = image
    return list(images.values())


def _annotated_tags(descriptor: Descriptor) -> tuple[str, ...]:
    """The image's whole name, where an annotation holds one; a mere tag names nothing."""
    annotations = dict(descriptor.annotations)
    for key in _REF_NAMES:
        name = annotations.get(key, "")
        if ":" in name or "/" in name:
            return (_tag(name),)
    return ()


def _tag(name: object) -> str:
    reference = Reference.parse(str(name))
    return reference.tagged or Reference.parse(reference.name).tagged


def _archived(raw: bytes, layers: tuple[LayerSource, ...], tags: tuple[str, ...]) -> Archived:
    config, diff_ids = parse_config(raw)
    if len(diff_ids) != len(layers):
        raise InvalidSpec(f"a config names {len(diff_ids)} layers, its manifest {len(layers)}")
    return Archived(digest_of(raw), config, diff_ids, layers, tags, raw)
