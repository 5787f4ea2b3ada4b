"""What the image store hands out and takes in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from swarmlite.errors import InvalidSpec

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
}


@dataclass(frozen=True)
class Platform:
    """An operating system and architecture, in Go's names (linux, amd64)."""

    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""

    @classmethod
    def of_host(cls) -> Platform:
        """The platform that this machine runs."""
        machine = os.uname().machine
        architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
        return cls("linux", architecture, variant)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True)
class Image:
    """An image of this host; all of its layers are unpacked.

    `config` is the OCI image configuration as parsed JSON; `layers` are chain ids, lowest first;
    `created` is the configuration's RFC 3339 text, or empty; `size_bytes` is unpacked.
    """

    id: str
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    config: dict[str, Any]
    layers: tuple[str, ...]
    size_bytes: int
    created: str
    manifest: str = ""
    """The digest of its manifest among the blobs; empty for one of an older store."""
    used: float = field(default=0.0, compare=False)
    parent: str = ""
    """The id of the image that it was made on here, by a commit."""


@dataclass(frozen=True)
class HistoryItem:
    """One step of how an image was made; `created` is RFC 3339."""

    created: str
    created_by: str
    comment: str
    size_bytes: int
    empty_layer: bool


@dataclass(frozen=True)
class ManifestInfo:
    """One manifest of an image: what it is for, and whether all of its blobs are here.

    `image_id` where its layers are unpacked; `attests` is the manifest that an attestation is of.
    """

    digest: str
    media_type: str
    size_bytes: int
    platform: Platform | None
    attestation: bool
    available: bool
    content_bytes: int
    image_id: str
    attests: str


@dataclass(frozen=True)
class Inspection:
    """An image, what its layers unpack to, how it was made, and the blobs that it came as.

    `index` is the digest of the index that it came by, `manifests` what that names, or its own.
    """

    image: Image
    diff_ids: tuple[str, ...]
    history: tuple[HistoryItem, ...]
    blobs: tuple[str, ...]
    index: str = ""
    manifests: tuple[ManifestInfo, ...] = ()
    index_media_type: str = ""
    index_size_bytes: int = 0


@dataclass(frozen=True)
class Pushed:
    """A name that a registry has now; `size_bytes` is of the manifest or index."""

    tag: str
    digest: str
    size_bytes: int


@dataclass(frozen=True)
class Usage:
    """For `system df`: images, those in use, bytes of layers, of those unused, and of blobs."""

    images: int
    active: int
    size_bytes: int
    reclaimable_bytes: int
    blob_bytes: int


@dataclass(frozen=True)
class Progress:
    """One step of a pull or load; `layer` is a short digest, empty for the image as a whole."""

    layer: str
    status: str
    current_bytes: int = 0
    total_bytes: int = 0


@dataclass(frozen=True)
class Resolved:
    """What a registry says a reference is now; `digest` is of the index where there is one."""

    digest: str
    platforms: tuple[Platform, ...]
    media_type: str = ""
    size_bytes: int = 0


@dataclass(frozen=True)
class Removed:
    """Names that were taken away, ids of images that are gone, and these with chain ids of layers.

    `reclaimed_bytes` are of layers and blobs.
    """

    untagged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    reclaimed_bytes: int = 0
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """Bounds on what one layer or image may do to this host; what passes them is refused.

    `entries` and `bytes` are of one unpacked layer, `image_bytes` of all layers of an image;
    `free_bytes` and `free_inodes` must stay free on the disk of the store.
    """

    entries: int = 2_000_000
    bytes: int = 64 << 30
    image_bytes: int = 256 << 30
    manifest_bytes: int = 4 << 20
    config_bytes: int = 8 << 20
    free_bytes: int = 256 << 20
    free_inodes: int = 10_000
    memory_bytes: int = 1 << 30
    layers: int = 500
    archive_bytes: int = 256 << 30

    @classmethod
    def from_environment(cls) -> Limits:
        """Of `images.limits` in swarmlite.toml, and over it SWARMLITE_IMAGE_LIMITS:
        NAME=NUMBER[k|m|g|t] separated by commas; others by default.

        Raises InvalidSpec for an unknown name or what is not a number.
        """
        from swarmlite.storage.images import configfile  # not for the unpacker's process

        images = configfile.section("images")
        where = f"{configfile.path()}: images"
        if unknown := set(images) - {"limits"}:
            raise InvalidSpec(f"{where}: unknown key {min(unknown)!r}: use limits")
        table = images.get("limits", {})
        if not isinstance(table, dict):
            raise InvalidSpec(f"{where}.limits is not a table")
        found = cls._parse(((key, str(value)) for key, value in table.items()), f"{where}.limits")
        texts = filter(None, os.environ.get("SWARMLITE_IMAGE_LIMITS", "").split(","))
        pairs = (text.strip().partition("=") for text in texts)
        found |= cls._parse(((key, value) for key, _, value in pairs), "SWARMLITE_IMAGE_LIMITS")
        return cls(**found)

    @classmethod
    def _parse(cls, pairs: Iterable[tuple[str, str]], where: str) -> dict[str, int]:
        found = {}
        for name, text in pairs:
            if name not in cls.__dataclass_fields__:
                known = ", ".join(cls.__dataclass_fields__)
                raise InvalidSpec(f"{where}: unknown limit {name!r}: known: {known}")
            found[name] = _amount(where, name, text.strip().lower())
        return found


def _amount(where: str, name: str, text: str) -> int:
    shift = {"k": 10, "m": 20, "g": 30, "t": 40}.get(text[-1:], 0)
    digits = text[:-1] if shift else text
    if not digits.isdecimal() or not int(digits):
        raise InvalidSpec(f"{where}: {name}={text[:40]!r} is not a number above 0")
    return int(digits) << shift


@dataclass
class LayerSource:
    """Where the tar of a layer lies: a part of a file, compressed or not."""

    path: str
    offset: int = 0
    length: int = -1


@dataclass(frozen=True)
class Unpacked:
    """The result of unpacking one layer.

    `implied` are directories that members lie in but that the layer does not describe.
    """

    diff_id: str
    size_bytes: int
    entries: int
    implied: tuple[str, ...] = field(default=())
