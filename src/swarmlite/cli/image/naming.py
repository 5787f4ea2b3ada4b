"""Image names: tags filled in, registries told apart."""

from __future__ import annotations

from swarmlite.model.references import DEFAULT_DOMAIN, Reference

HUB = "https://index.docker.io/v1/"


def with_tag(image: str) -> str:
    """The name with `:latest` where neither a tag nor a digest is said."""
    if "@" in image or ":" in image.rpartition("/")[2]:
        return image
    return f"{image}:latest"


def registry_of(image: str) -> str:
    """The key under which Docker's config.json keeps the credentials of the registry of `image`.

    By the one rule that pulling goes by too: no key ever goes to another host than its own. Raises
    InvalidSpec.
    """
    domain = Reference.parse(image).domain
    return HUB if domain == DEFAULT_DOMAIN else domain
