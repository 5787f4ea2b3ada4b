"""What the store says of its images: how they were made, what they take, their manifests."""

from __future__ import annotations

from collections.abc import Iterator

from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.model.references import Reference
from swarmlite.storage.images.catalog import Catalog, image_of
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.manifest import (
    REFERENCE_DIGEST,
    Descriptor,
    Index,
    Manifest,
    is_attestation,
    media_type_of,
    parse,
    parse_config,
)
from swarmlite.storage.images.platforms import of_config
from swarmlite.storage.images.types import (
    HistoryItem,
    Inspection,
    ManifestInfo,
    Platform,
    Resolved,
    Usage,
)


def inspect(catalog: Catalog, ref: str) -> Inspection:
    """An image with all that its config and manifest say. Blocks for as long as small files take.

    Raises NotFound, InvalidSpec.
    """
    entry = catalog.index.find(ref)
    rootfs = entry.config.get("rootfs") or {}
    index = document(catalog, entry.index) if entry.index else b""
    return Inspection(
        image=image_of(entry),
        diff_ids=tuple(rootfs.get("diff_ids") or ()),
        history=history(catalog, entry),
        blobs=tuple(entry.blobs),
        index=entry.index,
        manifests=tuple(_manifests(catalog, entry)),
        index_media_type=media_type_of(index) if index else "",
        index_size_bytes=len(index),
    )


def resolve(catalog: Catalog, ref: str) -> Resolved | None:
    """See ImageStore.resolve_here."""
    try:
        reference = Reference.parse(ref)
        entry = catalog.index.find(ref)
    except (NotFound, InvalidSpec):
        return None
    prefix = f"{reference.name}@"
    pinned = [name.removeprefix(prefix) for name in entry.digests if name.startswith(prefix)]
    digest = reference.digest or (pinned[-1] if pinned else entry.manifest)
    if not digest or not catalog.content.has(digest):
        return None
    data = document(catalog, digest)
    return Resolved(digest, (of_config(entry.config),), media_type_of(data), len(data))


def history(catalog: Catalog, entry: Entry) -> tuple[HistoryItem, ...]:
    """How an image was made, the newest step first."""
    items, layers = [], iter(entry.layers)
    for step in entry.config.get("history") or ():
        empty = step.get("empty_layer") is True
        items.append(
            HistoryItem(
                created=str(step.get("created") or ""),
                created_by=str(step.get("created_by") or ""),
                comment=str(step.get("comment") or ""),
                size_bytes=0 if empty else catalog.layers.size(next(layers, "")),
                empty_layer=empty,
            )
        )
    return tuple(reversed(items))


def usage(catalog: Catalog) -> Usage:
    """What images take on the disk, and how much of it would be free without the unused."""
    used, entries = catalog.ids_in_use(), catalog.index.entries.values()
    kept = {chain for entry in entries if entry.id in used for chain in entry.layers}
    sizes = {chain: catalog.layers.size(chain) for entry in entries for chain in entry.layers}
    content = catalog.content
    blobs = sum(content.info(digest).size_bytes for digest in content.digests())
    free = sum(size for chain, size in sizes.items() if chain not in kept)
    return Usage(len(entries), len(used), sum(sizes.values()), free, blobs)


def _manifests(catalog: Catalog, entry: Entry) -> Iterator[ManifestInfo]:
    """Of the index that it came by, or its own."""
    if entry.index and (listed := list(_of_index(catalog, entry, entry.index, 0))):
        yield from listed
    elif entry.manifest:
        data = document(catalog, entry.manifest)
        kind = media_type_of(data) if data else ""
        own = Descriptor(kind, entry.manifest, len(data), of_config(entry.config))
        yield _info(catalog, entry, own)


def _of_index(catalog: Catalog, entry: Entry, digest: str, depth: int) -> Iterator[ManifestInfo]:
    parsed = parsed_blob(catalog, digest)
    if not isinstance(parsed, Index):
        return
    for descriptor in parsed.manifests:
        if depth < 3 and isinstance(parsed_blob(catalog, descriptor.digest), Index):
            yield from _of_index(catalog, entry, descriptor.digest, depth + 1)
        else:
            yield _info(catalog, entry, descriptor)


def _info(catalog: Catalog, entry: Entry, descriptor: Descriptor) -> ManifestInfo:
    manifest = parsed_blob(catalog, descriptor.digest)
    blobs: tuple[Descriptor, ...] = ()
    platform = descriptor.platform
    if isinstance(manifest, Manifest):
        blobs = (manifest.config, *manifest.layers)
        platform = platform or _platform(catalog, manifest)
    here = [blob for blob in blobs if catalog.content.has(blob.digest)]
    return ManifestInfo(
        digest=descriptor.digest,
        media_type=descriptor.media_type,
        size_bytes=descriptor.size,
        platform=platform,
        attestation=is_attestation(descriptor),
        available=bool(blobs) and len(here) == len(blobs),
        content_bytes=sum(blob.size for blob in here),
        image_id=entry.id if descriptor.digest == entry.manifest else "",
        attests=dict(descriptor.annotations).get(REFERENCE_DIGEST, ""),
    )


def _platform(catalog: Catalog, manifest: Manifest) -> Platform | None:
    try:
        raw = catalog.content.read(manifest.config.digest, catalog.limits.config_bytes)
        return of_config(parse_config(raw)[0])
    except (NotFound, InvalidSpec):
        return None


def document(catalog: Catalog, digest: str) -> bytes:
    """A manifest or index as it came; empty where it is not here."""
    try:
        return catalog.content.read(digest, catalog.limits.manifest_bytes)
    except (NotFound, InvalidSpec):
        return b""


def parsed_blob(catalog: Catalog, digest: str) -> Manifest | Index | None:
    """The manifest or index of this digest, where it is here and is one."""
    try:
        data = catalog.content.read(digest, catalog.limits.manifest_bytes)
        return parse(data, any_layers=True)
    except (NotFound, InvalidSpec):
        return None
