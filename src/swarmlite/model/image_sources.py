"""Who is asked for an image: other nodes of the cluster, and the image's registry."""

from __future__ import annotations

from collections.abc import Sequence

from swarmlite.errors import InvalidSpec

PEER, REGISTRY = "peer", "registry"
SOURCES = (PEER, REGISTRY)
"""In this order by default."""


def check_sources(sources: Sequence[str]) -> None:
    """Raises InvalidSpec for words that are no sources, or that stand there twice."""
    for number, source in enumerate(sources):
        if source not in SOURCES:
            raise InvalidSpec(f"unknown image source {source!r}: use {' and '.join(SOURCES)}")
        if source in sources[:number]:
            raise InvalidSpec(f"image source {source!r} specified twice")
