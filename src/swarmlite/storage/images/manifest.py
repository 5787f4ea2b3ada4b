"""Manifests and indexes: what a registry or an archive says an image consists of.

Sources: OCI image-spec (manifest.md, image-index.md, config.md), Docker image manifest v2 schema 2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.model.references import is_digest
from swarmlite.storage.images.config import check
from swarmlite.storage.images.types import Platform

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEXES = (OCI_INDEX, DOCKER_LIST)
ACCEPTED = (*INDEXES, OCI_MANIFEST, DOCKER_MANIFEST)

REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
ATTESTATION = "attestation-manifest"

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_NOT_DISTRIBUTED = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_FOREIGN = frozenset(
    {
        _NOT_DISTRIBUTED,
        f"{_NOT_DISTRIBUTED}+gzip",
        f"{_NOT_DISTRIBUTED}+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
)
_LAYERS = _FOREIGN | frozenset(
    {
        _LAYER,
        f"{_LAYER}+gzip",
        f"{_LAYER}+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    }
)


def layer_type(head: bytes) -> str:
    """The media type of a layer whose blob begins with `head`."""
    if head.startswith(b"\x1f\x8b"):
        return f"{_LAYER}+gzip"
    return f"{_LAYER}+zstd" if head == b"\x28\xb5\x2f\xfd" else _LAYER


@dataclass(frozen=True)
class Descriptor:
    """A blob: what it is, its digest and its size."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    urls: tuple[str, ...] = ()

    @property
    def is_foreign(self) -> bool:
        """Whether its owner does not want it in registries: it may lie at its `urls` only."""
        return self.media_type in _FOREIGN

    @property
    def short(self) -> str:
        """Twelve digits, as progress shows it."""
        return self.digest.partition(":")[2][:12]


@dataclass(frozen=True)
class Manifest:
    """An image of one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Index:
    """Manifests of one image for several platforms."""

    manifests: tuple[Descriptor, ...]


def compose(
    config: bytes, layers: Sequence[Descriptor], annotations: Mapping[str, str] | None = None
) -> bytes:
    """The manifest of an image that came without one."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest_of(config),
            "size": len(config),
        },
        "layers": [
            {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}
            for layer in layers
        ],
    }
    if annotations:
        document["annotations"] = dict(sorted(annotations.items()))
    return json.dumps(document, separators=(",", ":")).encode()


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """ALGORITHM:HEX of `data`."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def parse(data: bytes, media_type: str = "", *, any_layers: bool = False) -> Manifest | Index:
    """The manifest or index in `data`; raises InvalidSpec. `media_type` is what it was sent as.

    With `any_layers`, layers may be what cannot be unpacked: attestations, signatures.
    """
    document = parse_json(data, "the manifest")
    declared = document.get("mediaType") or media_type
    if media_type in ACCEPTED and declared != media_type:
        raise InvalidSpec(f"the manifest says it is {declared!r} but was sent as {media_type!r}")
    is_index, is_manifest = "manifests" in document, "layers" in document or "config" in document
    if is_index and is_manifest:
        raise InvalidSpec("the manifest is an index and an image at once")
    if document.get("schemaVersion") != 2:
        raise InvalidSpec("the manifest is of an obsolete schema; push the image again")
    if is_index and declared not in (OCI_MANIFEST, DOCKER_MANIFEST):
        return Index(_descriptors(document["manifests"], "manifests"))
    if not is_manifest or declared in (OCI_INDEX, DOCKER_LIST):
        raise InvalidSpec("the manifest has no config and layers, or is not what its type says")
    layers = _descriptors(document.get("layers"), "layers")
    for layer in layers:
        if layer.media_type not in _LAYERS and not any_layers:
            raise InvalidSpec(
                f"layer {layer.short} has the unknown media type {layer.media_type!r}"
            )
    return Manifest(_descriptor(document.get("config"), "config"), layers)


def media_type_of(data: bytes) -> str:
    """What a manifest or index says it is, or looks like."""
    document = parse_json(data, "the manifest")
    declared = document.get("mediaType")
    if isinstance(declared, str) and declared:
        return declared
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `data`; raises InvalidSpec."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"{what} is not JSON: {str(error)[:100]}") from error
    if not isinstance(document, dict):
        raise InvalidSpec(f"{what} is not a JSON object")
    return document


def parse_config(data: bytes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """An image's configuration and its diff ids; raises InvalidSpec."""
    config = parse_json(data, "the image's config")
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if diff_ids is None:
        diff_ids = []
    if not isinstance(diff_ids, list) or not all(is_digest(diff) for diff in diff_ids):
        raise InvalidSpec("the image's config has no valid rootfs.diff_ids")
    check(config)
    return config, tuple(diff_ids)


def check_platform(config: dict[str, Any], wanted: Platform) -> None:
    """Raises FailedPrecondition for an image that names another platform than `wanted`."""
    found = Platform(str(config.get("os") or wanted.os), str(config.get("architecture") or ""))
    if (found.os, found.architecture or wanted.architecture) != (wanted.os, wanted.architecture):
        raise FailedPrecondition(f"the image is for {found}, this needs {wanted}")


def matching(entries: Sequence[Descriptor], wanted: Platform) -> list[Descriptor]:
    """Those that say that they are for `wanted`, the best first."""
    found = [
        entry
        for entry in entries
        if entry.platform is not None
        and (entry.platform.os, entry.platform.architecture) == (wanted.os, wanted.architecture)
    ]
    return sorted(found, key=lambda entry: _variant_distance(entry, wanted))


def select(index: Index, wanted: Platform) -> Descriptor:
    """The manifest for `wanted`; raises FailedPrecondition that lists what there is."""
    entries = [entry for entry in index.manifests if not is_attestation(entry)]
    if found := matching(entries, wanted):
        return found[0]
    if len(entries) == 1 and entries[0].platform is None:
        return entries[0]
    there = ", ".join(dict.fromkeys(str(e.platform) for e in entries if e.platform)) or "none"
    raise FailedPrecondition(f"no image for {wanted} in the index (there is: {there})")


def is_attestation(entry: Descriptor) -> bool:
    """Whether an index names it for what it says of another manifest, and not to be run."""
    unknown = entry.platform is not None and entry.platform.os == "unknown"
    return unknown or dict(entry.annotations).get(REFERENCE_TYPE) == ATTESTATION


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """The chain id of each layer, lowest first (OCI config.md, "Layer ChainID")."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)


def _variant_distance(entry: Descriptor, wanted: Platform) -> int:
    """0 for the same variant; the next older one runs too (arm v7 runs v6), a newer one may not."""
    variant = entry.platform.variant if entry.platform else ""
    if variant == wanted.variant:
        return 0
    steps = _number(wanted.variant) - _number(variant)
    return 100 - steps if wanted.variant and steps < 0 else abs(steps) + 1


def _number(variant: str) -> int:
    digits = variant.removeprefix("v")[:3]
    return int(digits) if digits.isdecimal() else 0


def _descriptors(raw: object, what: str) -> tuple[Descriptor, ...]:
    if not isinstance(raw, list) or len(raw) > 1000:
        raise InvalidSpec(f"the manifest's {what} are not a list, or more than 1000")
    return tuple(_descriptor(entry, what) for entry in raw)


def _descriptor(raw: object, what: str) -> Descriptor:
    if not isinstance(raw, dict) or not is_digest(raw.get("digest")):
        raise InvalidSpec(f"the manifest's {what} lack a valid digest")
    size = raw.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 50:
        raise InvalidSpec(f"the manifest's {what} lack a valid size")
    annotations = raw.get("annotations") or {}
    if not isinstance(annotations, dict):
        annotations = {}
    return Descriptor(
        str(raw.get("mediaType") or ""),
        raw["digest"],
        size,
        _platform(raw.get("platform")),
        tuple((str(key), str(value)) for key, value in annotations.items()),
        _urls(raw.get("urls")),
    )


def _urls(raw: object) -> tuple[str, ...]:
    return tuple(map(str, raw[:10])) if isinstance(raw, list) else ()


def _platform(raw: object) -> Platform | None:
    if not isinstance(raw, dict):
        return None
    return Platform(
        str(raw.get("os") or ""), str(raw.get("architecture") or ""), str(raw.get("variant") or "")
    )
