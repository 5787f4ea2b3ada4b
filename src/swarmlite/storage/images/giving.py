"""Giving an image's blobs to another host, also while they are still on their way here."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from swarmlite.storage.images.arriving import Arrival
from swarmlite.storage.images.catalog import Catalog
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.manifest import Index, parse

PIECE_BYTES = 256 << 10
STALL_S = 20.0
_LOOK_S = 0.05
_MAX_DOCUMENTS = 250


@dataclass
class Given:
    """A blob that may be read; `arrival` where it is on its way."""

    size: int
    path: Path
    arrival: Arrival | None

    async def pieces(self, offset: int) -> AsyncIterator[bytes]:
        """Its bytes from `offset` on.

        Raises FailedPrecondition where they may come yet, Unavailable where they do not.
        """
        try:
            fd = await in_thread(os.open, self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise FailedPrecondition("it was kept or given up just now: ask again") from error
        try:
            while offset < self.size:
                end = await self._end(offset)
                piece = await in_thread(os.pread, fd, min(PIECE_BYTES, end - offset), offset)
                if not piece:
                    raise Unavailable("what was on its way here was given up")
                yield piece
                offset += len(piece)
        finally:
            os.close(fd)

    async def _end(self, offset: int) -> int:
        """How far it can be read."""
        arrival = self.arrival
        if arrival is None:
            return self.size
        if not await arrival.beyond(offset, STALL_S):
            if not arrival.ended:
                raise FailedPrecondition("what is on its way here is slow to come: ask again")
            raise Unavailable("what was on its way here does not come")
        return arrival.have


class Giving:
    """Gives from one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def find(self, image: str, digest: str, wait_s: float) -> Given:
        """A blob of the image with this index or manifest; waits for one that is to come.

        Raises FailedPrecondition where the image is being pulled and it may come yet, NotFound, and
        PermissionDenied where it is not that image's.
        """
        deadline = time.monotonic() + wait_s
        while True:
            given = self._given(digest)
            if given is not None and await in_thread(belongs, self._catalog, image, digest):
                return given
            if time.monotonic() >= deadline:
                break
            await asyncio.sleep(_LOOK_S)
        if given is not None and self._catalog.content.has(image):
            raise PermissionDenied(f"blob {digest[:19]} is not of the image {image[:19]}")
        if wait_s and self._catalog.pulling[image]:
            raise FailedPrecondition(f"blob {digest[:19]} has yet to come here: ask again")
        raise NotFound(f"blob {digest[:19]} is not here")

    def _given(self, digest: str) -> Given | None:
        content = self._catalog.content
        try:
            return Given(content.info(digest).size_bytes, content.path(digest), None)
        except NotFound:
            pass
        arrival = self._catalog.arrivals.get(digest)
        if arrival is None or not arrival.have:
            return None
        return Given(arrival.size, arrival.path, arrival)


def belongs(catalog: Catalog, image: str, digest: str) -> bool:
    """Whether `digest` is of the index or manifest `image`, or of what that leads to. Blocks."""
    ahead, seen = [image], set[str]()
    while ahead and len(seen) < _MAX_DOCUMENTS:
        document = ahead.pop()
        if document == digest:
            return True
        if document in seen:
            continue
        seen.add(document)
        try:
            data = catalog.content.read(document, catalog.limits.manifest_bytes)
            parsed = parse(data, any_layers=True)
        except (NotFound, InvalidSpec):
            continue
        if isinstance(parsed, Index):
            ahead += [entry.digest for entry in parsed.manifests]
        elif digest in (parsed.config.digest, *(layer.digest for layer in parsed.layers)):
            return True
    return False
