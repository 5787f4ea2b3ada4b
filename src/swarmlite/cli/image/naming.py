"""Image names: tags filled in, registries told apart."""

from __future__ import annotations

HUB = "https://index.docker.io/v1/"


def with_tag(image: str) -> str:
    """The name with `:latest` where neither a tag nor a digest is said."""
    if "@" in image or ":" in image.rpartition("/")[2]:
        return image
    return f"{image}:latest"


def registry_of(image: str) -> str:
    """The key under which Docker's config.json keeps the registry's credentials."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return HUB if first in ("docker.io", "index.docker.io") else first
    return HUB
