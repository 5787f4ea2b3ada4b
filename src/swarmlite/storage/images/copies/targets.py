"""What images are copied to."""

from __future__ import annotations

import contextlib
import json
import shutil
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from swarmlite.errors import InvalidSpec
from swarmlite.kernel import durable
from swarmlite.kernel.durable import named
from swarmlite.model.references import Reference
from swarmlite.storage.images.copies import places
from swarmlite.storage.images.copies.places import Place
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.manifest import OCI_INDEX, Descriptor, Manifest, parse
from swarmlite.storage.images.registry import Document, Repository
from swarmlite.storage.images.saving import annotations_of
from swarmlite.storage.images.uploads import Uploads

Progressed = Callable[[int], None]


class Target(ABC):
    """A place that an image is brought to, lowest parts first."""

    @abstractmethod
    async def has(self, descriptor: Descriptor) -> bool:
        """Whether this blob is there."""

    @abstractmethod
    async def mount(self, descriptor: Descriptor, path: str) -> bool:
        """Take it from another repository of the same registry, where that is possible."""

    @abstractmethod
    async def put(self, descriptor: Descriptor, file: Path, progress: Progressed) -> None:
        """A blob, which lies in a file of its own that may be moved."""

    @abstractmethod
    async def document(self, document: Document) -> None:
        """A manifest or index by its digest."""

    @abstractmethod
    async def finish(self, top: Document) -> None:
        """What the name stands for from now on."""


class RegistryTarget(Target):
    """A repository, opened for pull and push."""

    def __init__(self, repository: Repository, chunk_bytes: int) -> None:
        self._uploads = Uploads(repository, chunk_bytes)
        self._reference = repository.reference

    async def has(self, descriptor: Descriptor) -> bool:
        """See Target."""
        return await self._uploads.has(descriptor.digest)

    async def mount(self, descriptor: Descriptor, path: str) -> bool:
        """See Target."""
        if path == self._reference.path:
            return False
        return bool(await self._uploads.mount(descriptor.digest, [path]))

    async def put(self, descriptor: Descriptor, file: Path, progress: Progressed) -> None:
        """See Target."""
        await self._uploads.send(descriptor, file, progress)

    async def document(self, document: Document) -> None:
        """See Target."""
        await self._uploads.manifest(document.digest, document.data, document.media_type)

    async def finish(self, top: Document) -> None:
        """See Target."""
        target = self._reference.target
        if self._reference.digest and top.digest != target:
            raise InvalidSpec(f"{self._reference} cannot name an image of digest {top.digest}")
        await self._uploads.manifest(target, top.data, top.media_type)


class LayoutTarget(Target):
    """The folder of an OCI layout; others' images in it stay."""

    def __init__(self, folder: Path, name: str) -> None:
        """`name` is a tag, or a whole name; may be empty."""
        self._folder, self._name = folder, name
        self._new: list[Path] = []

    def _path(self, digest: str) -> Path:
        return self._folder / "blobs" / digest.replace(":", "/")

    def _make_room(self, path: Path) -> None:
        """For a file that is not there yet; its folders, the highest first."""
        above = (path, *path.parents[: path.parents.index(self._folder) + 1])
        self._new.extend(one for one in reversed(above) if not one.exists())
        path.parent.mkdir(parents=True, exist_ok=True)

    def give_up(self) -> None:
        """Take away what is new: no index names it."""
        for path in reversed(self._new):
            with contextlib.suppress(OSError):  # of a folder: somebody else's files are in it
                path.rmdir() if path.is_dir() else path.unlink()

    async def has(self, descriptor: Descriptor) -> bool:
        """See Target."""
        path = self._path(descriptor.digest)
        return path.is_file() and path.stat().st_size == descriptor.size

    async def mount(self, descriptor: Descriptor, path: str) -> bool:
        """See Target."""
        return False

    async def put(self, descriptor: Descriptor, file: Path, progress: Progressed) -> None:
        """See Target."""
        path = self._path(descriptor.digest)
        with named(self._folder):
            await in_thread(self._move, file, path)
        progress(descriptor.size)

    def _move(self, file: Path, path: Path) -> None:
        self._make_room(path)
        scratch = durable.scratch_of(path)
        try:
            shutil.move(file, scratch)
            scratch.rename(path)
        finally:
            scratch.unlink(missing_ok=True)

    async def document(self, document: Document) -> None:
        """See Target."""
        self._write(self._path(document.digest), document.data)

    def _write(self, path: Path, data: bytes) -> None:
        with named(self._folder):
            self._make_room(path)
            durable.write(path, data, mode=0o644, sync=False)

    async def finish(self, top: Document) -> None:
        """See Target."""
        await self.document(top)
        self._write(self._folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        path, entries = self._folder / "index.json", []
        if path.exists():
            entries = self._others(json.loads(path.read_text()))
        entry: dict[str, Any] = {
            "mediaType": top.media_type, "digest": top.digest, "size": len(top.data),
        }  # fmt: skip
        if self._name:
            entry["annotations"] = _annotations(self._name)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, entry]}
        self._write(path, json.dumps(index).encode())

    def _others(self, index: Any) -> list[dict[str, Any]]:
        entries = index.get("manifests") if isinstance(index, dict) else None
        if not isinstance(entries, list):
            raise InvalidSpec(f"{self._folder / 'index.json'} is not an index")
        own = _annotations(self._name) if self._name else {}
        return [entry for entry in entries if entry.get("annotations", {}) != own]


def _annotations(name: str) -> dict[str, str]:
    if "/" in name or ":" in name:
        return annotations_of(Reference.parse(name).tagged)
    return {"org.opencontainers.image.ref.name": name}


class ArchiveTarget(LayoutTarget):
    """A tar of a layout; with manifest.json where `docker load` has to take it."""

    def __init__(self, place: Place, scratch: Path) -> None:
        super().__init__(scratch / "layout", place.name)
        self._file = place.path
        self._tag = Reference.parse(place.name).tagged if place.name else ""
        self._docker = place.kind == places.DOCKER_ARCHIVE

    async def finish(self, top: Document) -> None:
        """See Target."""
        await super().finish(top)
        if self._docker:
            await in_thread(self._write_manifest, top)
        with named(self._file):
            await in_thread(self._pack)

    def _write_manifest(self, top: Document) -> None:
        parsed = parse(top.data, any_layers=True)
        if not isinstance(parsed, Manifest):
            raise InvalidSpec("a docker-archive holds one platform: choose it with --platform")
        entry = {
            "Config": f"blobs/{parsed.config.digest.replace(':', '/')}",
            "RepoTags": [self._tag] if self._tag else None,
            "Layers": [f"blobs/{layer.digest.replace(':', '/')}" for layer in parsed.layers],
        }
        self._write(self._folder / "manifest.json", json.dumps([entry]).encode())

    def _pack(self) -> None:
        part = self._file.with_name(f".{self._file.name}.part")
        try:
            with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
                for path in sorted(self._folder.rglob("*")):
                    tar.add(path, path.relative_to(self._folder), recursive=False)
            part.rename(self._file)
        finally:
            part.unlink(missing_ok=True)
