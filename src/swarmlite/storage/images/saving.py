"""Writing archives: an OCI layout that `docker load` of every version takes too.

Source: OCI image-spec, image-layout.md; manifest.json as `docker save` writes it since version 25.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from swarmlite.errors import FailedPrecondition, NotFound
from swarmlite.model.references import Reference
from swarmlite.storage.images import manifests
from swarmlite.storage.images.catalog import Catalog
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.manifest import OCI_INDEX, Manifest, parse
from swarmlite.storage.images.manifests import Whole
from swarmlite.storage.images.types import Platform

_CHUNK = 256 << 10
_FULL_NAME, _TAG_NAME = "io.containerd.image.name", "org.opencontainers.image.ref.name"


@dataclass
class _Chosen:
    """An image of an archive, under the names that it keeps there."""

    entry: Entry
    whole: Whole
    tags: list[str] = field(default_factory=list)


def save(
    catalog: Catalog,
    refs: Sequence[str],
    platform: Platform | None,
    *,
    all_platforms: bool,
    names: Sequence[str] = (),
) -> Iterator[bytes]:
    """A tar of images. Blocks; raises NotFound, FailedPrecondition before the first piece.

    `names` are further ones that the only image has in it, and not here.

    The iterator is to be closed: until then nothing of the images is collected.
    """
    chosen: dict[str, _Chosen] = {}
    for ref in refs:
        for entry, tag in _named(catalog, ref):
            if entry.id not in chosen:
                whole = manifests.whole(catalog, entry, platform, all_platforms=all_platforms)
                chosen[entry.id] = _Chosen(entry, whole)
            if tag and tag not in chosen[entry.id].tags:
                chosen[entry.id].tags.append(tag)
    images = list(chosen.values())
    for name in names:
        if name not in images[0].tags:
            images[0].tags.append(name)
    _require(catalog, images)
    return _pieces(catalog, images)


def _named(catalog: Catalog, ref: str) -> list[tuple[Entry, str]]:
    """Images, each under the name that it is asked for by: NAME stands for all of its tags."""
    entry = None
    try:
        entry = catalog.index.find(ref)
        if entry.id.removeprefix("sha256:").startswith(ref.removeprefix("sha256:")):
            return [(entry, "")]
    except NotFound:
        pass
    reference = Reference.parse(ref)
    explicit = reference.digest or ":" in ref.rpartition("/")[2]
    if explicit:
        if entry is None:
            raise NotFound(f"no such image: {ref}")
        return [(entry, reference.tagged if not reference.digest else "")]
    found = [
        (entry, tag)
        for entry in catalog.index.entries.values()
        for tag in entry.tags
        if Reference.parse(tag).name == reference.name
    ]
    if not found:
        raise NotFound(f"no such image: {ref}")
    return found


def _require(catalog: Catalog, images: Sequence[_Chosen]) -> None:
    for image in images:
        for blob in image.whole.blobs:
            if not catalog.content.has(blob.digest):
                raise FailedPrecondition(
                    f"layer {blob.short} of image {image.entry.id[7:19]} is not kept here as it "
                    "came: pull the image again"
                )


def _pieces(catalog: Catalog, images: Sequence[_Chosen]) -> Iterator[bytes]:
    digests = {digest for image in images for digest in image.whole.digests}
    with catalog.holding(digests):
        yield _folder("blobs")
        for algorithm in sorted({digest.partition(":")[0] for digest in digests}):
            yield _folder(f"blobs/{algorithm}")
        for digest in sorted(digests):
            yield from _blob(catalog, digest)
        yield from _file("index.json", _json(_index(images)))
        yield from _file("manifest.json", _json(_docker_manifest(images)))
        yield from _file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        yield bytes(2 * tarfile.BLOCKSIZE)


def _blob(catalog: Catalog, digest: str) -> Iterator[bytes]:
    with catalog.content.open(digest) as file:
        size = left = catalog.content.info(digest).size_bytes
        yield _header(_path(digest), size)
        while left and (piece := file.read(min(left, _CHUNK))):
            left -= len(piece)
            yield piece
    yield bytes(-size % tarfile.BLOCKSIZE)


def _index(images: Sequence[_Chosen]) -> dict[str, Any]:
    entries = []
    for image in images:
        top = image.whole.top
        entry = {"mediaType": top.media_type, "digest": top.digest, "size": len(top.data)}
        for tag in image.tags or [""]:
            entries.append({**entry, **({"annotations": annotations_of(tag)} if tag else {})})
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}


def annotations_of(tag: str) -> dict[str, str]:
    """How an index of a layout names an image."""
    reference = Reference.parse(tag)
    full = f"{reference.domain}/{reference.path}:{reference.tag}"
    return {_FULL_NAME: full, _TAG_NAME: reference.tag}


def _docker_manifest(images: Sequence[_Chosen]) -> list[dict[str, Any]]:
    """What older versions load: images of one platform each."""
    entries = []
    for image in images:
        for document in (image.whole.top, *image.whole.documents):
            parsed = parse(document.data, any_layers=True)
            if not isinstance(parsed, Manifest) or not _is_own(image, parsed):
                continue
            entries.append(
                {
                    "Config": _path(parsed.config.digest),
                    "RepoTags": image.tags or None,
                    "Layers": [_path(layer.digest) for layer in parsed.layers],
                }
            )
            break
    return entries


def _is_own(image: _Chosen, manifest: Manifest) -> bool:
    """The one that this host has unpacked, where there are several."""
    return not image.whole.documents or manifest.config.digest == image.entry.id


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _folder(name: str) -> bytes:
    info = tarfile.TarInfo(name + "/")
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info.tobuf(tarfile.PAX_FORMAT)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _file(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data))
    yield data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
