"""Which manifest of an index is for a platform: by what the index says, else by its config.

An index may lead to further indexes, name attestations (platform unknown/unknown), and leave out
what an entry is for. Source: OCI image-spec, image-index.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.manifest import (
    INDEXES,
    Descriptor,
    Index,
    Manifest,
    is_attestation,
    matching,
    parse,
    parse_config,
)
from swarmlite.storage.images.registry import Document, Repository
from swarmlite.storage.images.types import Platform

MAX_DEPTH = 3
_MAX_ASKED = 50  # entries without a platform that are looked into


@dataclass(frozen=True)
class Chosen:
    """A manifest, and the documents that led to it; `config` where it was looked at already."""

    indexes: tuple[Document, ...]
    document: Document
    manifest: Manifest
    config: bytes = b""

    @property
    def top_digest(self) -> str:
        """Of what the reference names."""
        return (*self.indexes, self.document)[0].digest


class Reader(Protocol):
    """Where manifests and configs are read: a repository, or an archive."""

    async def manifest(self, digest: str, /) -> Document:
        """By its digest."""

    async def blob(self, descriptor: Descriptor, /) -> bytes:
        """A small blob."""


async def choose(reader: Reader, top: Document, wanted: Platform) -> Chosen:
    """What a manifest or index is for a platform.

    Raises FailedPrecondition that lists what there is, InvalidSpec, and what `reader` raises.
    """
    search = _Search(reader, wanted)
    found = await search.look(top, ())
    if found is None:
        there = ", ".join(dict.fromkeys(map(str, search.seen))) or "none"
        raise FailedPrecondition(f"no image for {wanted} in the index (there is: {there})")
    return found


class _Search:
    def __init__(self, reader: Reader, wanted: Platform) -> None:
        self._reader, self._wanted = reader, wanted
        self.seen: list[Platform] = []
        self._asked = 0

    async def look(self, document: Document, above: tuple[Document, ...]) -> Chosen | None:
        parsed = await in_thread(parse, document.data, document.media_type)
        if isinstance(parsed, Manifest):
            return Chosen(above, document, parsed)
        if len(above) >= MAX_DEPTH:
            raise InvalidSpec(f"its index leads to further indexes more than {MAX_DEPTH} deep")
        path = (*above, document)
        entries = [entry for entry in parsed.manifests if not is_attestation(entry)]
        self.seen += [entry.platform for entry in entries if entry.platform]
        for entry in matching(entries, self._wanted):
            if found := await self.look(await self._fetch(entry), path):
                return found
        unsaid = [entry for entry in entries if entry.platform is None]
        for entry in unsaid:
            if found := await self._unsaid(entry, path, only=len(entries) == 1):
                return found
        return None

    async def _fetch(self, entry: Descriptor) -> Document:
        return await self._reader.manifest(entry.digest)

    async def _unsaid(
        self, entry: Descriptor, path: tuple[Document, ...], *, only: bool
    ) -> Chosen | None:
        """An entry that does not say what it is for."""
        self._asked += 1
        if self._asked > _MAX_ASKED:
            raise InvalidSpec(f"its index has more than {_MAX_ASKED} entries without a platform")
        found = await self.look(await self._fetch(entry), path)
        if found is None or only or entry.media_type in INDEXES:
            return found
        raw = await self._reader.blob(found.manifest.config)
        config, _ = await in_thread(parse_config, raw)
        platform = of_config(config)
        self.seen.append(platform)
        if (platform.os, platform.architecture) != (self._wanted.os, self._wanted.architecture):
            return None
        return Chosen(found.indexes, found.document, found.manifest, raw)


def of_config(config: dict[str, Any]) -> Platform:
    """What an image's config says that it is for."""
    return Platform(
        str(config.get("os") or "linux"),
        str(config.get("architecture") or ""),
        str(config.get("variant") or ""),
    )


async def config_of(repository: Repository, manifest: Manifest) -> dict[str, Any]:
    """The config of an image in a registry."""
    config, _ = await in_thread(parse_config, await repository.blob(manifest.config))
    return config


async def of_index(repository: Repository, index: Index, depth: int = 0) -> tuple[Platform, ...]:
    """Those that an index has images for; attestations are left out."""
    found: dict[Platform, None] = {}
    for entry in index.manifests[:_MAX_ASKED]:
        if is_attestation(entry):
            continue
        if entry.platform is not None:
            found[entry.platform] = None
            continue
        try:
            document = await repository.manifest(entry.digest)
        except NotFound:
            continue
        parsed = await in_thread(parse, document.data, document.media_type)
        if isinstance(parsed, Manifest):
            found[of_config(await config_of(repository, parsed))] = None
        elif depth < MAX_DEPTH:
            found.update(dict.fromkeys(await of_index(repository, parsed, depth + 1)))
    return tuple(found)
