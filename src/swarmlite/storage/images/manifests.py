"""What an image consists of as others know it: its manifest or index, and all of their blobs."""

from __future__ import annotations

from dataclasses import dataclass

from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound
from swarmlite.storage.images.catalog import Catalog
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.manifest import (
    Descriptor,
    Index,
    digest_of,
    is_attestation,
    matching,
    media_type_of,
    parse,
)
from swarmlite.storage.images.platforms import of_config
from swarmlite.storage.images.registry import Document
from swarmlite.storage.images.types import Platform

_MAX_DEPTH = 4


@dataclass(frozen=True)
class Whole:
    """`top` is what a tag names; `documents` are the manifests and indexes below it, lowest first.

    `blobs` are configs and layers, each once.
    """

    top: Document
    documents: tuple[Document, ...]
    blobs: tuple[Descriptor, ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """Of everything."""
        documents = (document.digest for document in (self.top, *self.documents))
        return (*documents, *(blob.digest for blob in self.blobs))


def whole(
    catalog: Catalog, entry: Entry, platform: Platform | None = None, *, all_platforms: bool = False
) -> Whole:
    """What is to be given on of an image: its own manifest, that of a platform, or its index.

    Raises FailedPrecondition where that is not here as it came. Blocks for small files.
    """
    reading = _Reading(catalog, entry)
    if all_platforms and entry.index:
        return reading.read(entry.index)
    if platform is not None and platform != of_config(entry.config) and entry.index:
        return reading.read(reading.of_platform(entry.index, platform))
    if platform is not None and not _fits(entry, platform):
        raise FailedPrecondition(
            f"the image is here for {of_config(entry.config)} only, not for {platform}"
        )
    if not entry.manifest:
        raise FailedPrecondition(
            f"image {entry.id[7:19]} was kept by an older version without what it came as: "
            "pull it again"
        )
    return reading.read(entry.manifest)


def _fits(entry: Entry, platform: Platform) -> bool:
    own = of_config(entry.config)
    return (own.os, own.architecture) == (platform.os, platform.architecture)


class _Reading:
    def __init__(self, catalog: Catalog, entry: Entry) -> None:
        self._catalog, self._entry = catalog, entry
        self._documents: dict[str, Document] = {}
        self._blobs: dict[str, Descriptor] = {}

    def read(self, digest: str) -> Whole:
        top = self._add(digest, 0)
        documents = [doc for key, doc in self._documents.items() if key != digest]
        return Whole(top, tuple(documents), tuple(self._blobs.values()))

    def _add(self, digest: str, depth: int) -> Document:
        if digest in self._documents:
            return self._documents[digest]
        document = self._document(digest)
        parsed = parse(document.data, any_layers=True)
        if isinstance(parsed, Index):
            if depth >= _MAX_DEPTH:
                raise InvalidSpec(f"its index leads to indexes more than {_MAX_DEPTH} deep")
            for entry in parsed.manifests:
                self._add(entry.digest, depth + 1)
        else:
            layers = [layer for layer in parsed.layers if not layer.is_foreign]
            for blob in (parsed.config, *layers):
                self._blobs.setdefault(blob.digest, blob)
        self._documents[digest] = document
        return document

    def _document(self, digest: str) -> Document:
        try:
            data = self._catalog.content.read(digest, self._catalog.limits.manifest_bytes)
        except NotFound as error:
            raise FailedPrecondition(
                f"manifest {digest[7:19]} of image {self._entry.id[7:19]} is not here: pull the "
                "image with --all-platforms first"
            ) from error
        return Document(data, media_type_of(data), digest_of(data, digest.partition(":")[0]))

    def of_platform(self, index: str, platform: Platform) -> str:
        """The digest of the manifest for a platform."""
        parsed = parse(self._document(index).data, any_layers=True)
        assert isinstance(parsed, Index)
        entries = [entry for entry in parsed.manifests if not is_attestation(entry)]
        if found := matching(entries, platform):
            return found[0].digest
        there = ", ".join(str(entry.platform) for entry in entries if entry.platform) or "none"
        raise FailedPrecondition(f"no image for {platform} in the index (there is: {there})")
