"""`swarmlite image ls --tree`: what each image is for, and how much of it is here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swarmlite.cli.output import human, table
from swarmlite.model import units
from swarmlite.proto.images_pb2 import ImageDetails, ImageManifest

_HEADER = ("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "IN USE")


def render(images: Sequence[ImageDetails]) -> str:
    """A table with a line a name of an image, and below it a line a platform."""
    rows: list[tuple[str, ...]] = [_HEADER]
    for details in images:
        rows += _rows(details)
    return table.render(rows)


def _rows(details: ImageDetails) -> Iterator[tuple[str, ...]]:
    image = details.image
    names = list(image.repo_tags) or [next(iter(image.repo_digests), "<untagged>")]
    content = sum(manifest.content_bytes for manifest in details.manifests)
    usage = units.format_size(image.size_bytes)
    in_use = "U" if image.containers else ""
    for name in names:
        yield name, human.short_id(image.id), usage, units.format_size(content), in_use
    shown = [m for m in details.manifests if m.kind == ImageManifest.IMAGE]
    for number, manifest in enumerate(shown, 1):
        branch = "└─ " if number == len(shown) else "├─ "
        here = manifest.available or manifest.content_bytes
        own = usage if manifest.image_id == image.id else "-"
        size = units.format_size(manifest.content_bytes) if here else "-"
        yield branch + platform_text(manifest), human.short_id(manifest.digest), own, size, ""


def platform_text(manifest: ImageManifest) -> str:
    """As OS/ARCHITECTURE[/VARIANT]."""
    platform = manifest.platform
    parts = (platform.os, platform.architecture, platform.variant)
    return "/".join(filter(None, parts)) or "unknown"
