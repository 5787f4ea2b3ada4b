"""What the build cache takes, and how it is kept within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from swarmlite.build.cache import Cache
from swarmlite.build.cache_mounts import CacheMounts
from swarmlite.engine.prune import truth
from swarmlite.errors import InvalidSpec
from swarmlite.model.units import parse_bytes, parse_duration
from swarmlite.proto.control_pb2 import Filter
from swarmlite.storage.images.store import ImageStore

_SAVE_S = 60.0
KEEP = "SWARMLITE_BUILD_CACHE"
"""How much of the cache is kept, such as 20g; by default a tenth of its disk."""
REGULAR, MOUNT = "regular", "exec.cachemount"


@dataclass(frozen=True)
class Kept:
    """One thing that the cache keeps."""

    id: str
    kind: str
    text: str
    size: int
    created: float
    used: float
    count: int = 0
    in_use: bool = False
    shared: bool = False
    parent: str = ""


class Upkeep:
    """Of one host."""

    def __init__(self, cache: Cache, mounts: CacheMounts, images: ImageStore) -> None:
        self._cache, self._mounts, self._images = cache, mounts, images
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """A build has ended."""
        self._woken.set()

    async def run(self) -> None:
        """Keep the cache within its bound; ends only by cancellation.

        Of builds that found all of their steps there, only when these were used is news, which is
        written once a minute.
        """
        saved = 0.0
        while True:
            await self._woken.wait()
            self._woken.clear()
            grown = self._cache.grown or self._mounts.grown
            if grown or time.monotonic() - saved > _SAVE_S:
                await asyncio.to_thread(self._cache.save)
                saved = time.monotonic()
            if grown:
                await self._keep_within(self.bound())

    async def _keep_within(self, bound: int) -> None:
        """Prune; if what builds use now is more than that, the end of the next one prunes again."""
        self._cache.grown = self._mounts.grown = False  # what comes meanwhile sets it again
        left = None
        try:
            _, _, left = await self._pruned((), everything=False, keep_bytes=bound)
        finally:
            if left is None or left > bound:
                self._cache.grown = True

    def bound(self) -> int:
        """In bytes. Raises InvalidSpec."""
        text = os.environ.get(KEEP, "")
        if text:
            return parse_bytes(text)
        disk = os.statvfs(self._images.root)
        return disk.f_blocks * disk.f_frsize // 10

    async def all(self, filters: Sequence[Filter] = ()) -> list[Kept]:
        """All of it, the oldest use first. Raises InvalidSpec for an unknown filter."""
        passes = _matcher(filters)
        of_images = {chain for entry in self._images.entries() for chain in entry.layers}
        pinned = self._cache.pinned()
        by_chain = {e.chain: e.key for e in self._cache.entries.values()}
        found = [
            Kept(
                entry.key,
                REGULAR,
                entry.text,
                entry.size,
                _seconds(entry.created),
                entry.used,
                entry.count,
                in_use=entry.chain[-1] in pinned,
                shared=entry.chain[-1] in of_images,
                parent=by_chain.get(entry.chain[:-1], ""),
            )
            for entry in self._cache.entries.values()
        ]
        for mount in await self._mounts.all():
            found.append(
                Kept(
                    mount.id,
                    MOUNT,
                    f"cached mount {mount.text}",
                    mount.size,
                    mount.created,
                    mount.used,
                    in_use=mount.in_use,
                )
            )
        return sorted(filter(passes, found), key=lambda kept: kept.used)

    async def prune(
        self,
        filters: Sequence[Filter] = (),
        *,
        everything: bool = False,
        keep_bytes: int = 0,
    ) -> tuple[list[str], int]:
        """What is gone, and the bytes of it. Without `everything`, what images use stays.

        With `keep_bytes` only the least lately used, until no more than that is left.
        """
        gone, freed, _ = await self._pruned(filters, everything=everything, keep_bytes=keep_bytes)
        return gone, freed

    async def _pruned(
        self, filters: Sequence[Filter], *, everything: bool, keep_bytes: int
    ) -> tuple[list[str], int, int]:
        """As `prune`, and the bytes that are left."""
        kept = await self.all()
        passes = _matcher(filters)
        total = sum(one.size for one in kept if everything or not one.shared)
        gone, freed = [], 0
        for one in kept:
            if keep_bytes and total - freed <= keep_bytes:
                break
            if one.in_use or not passes(one) or (one.shared and not everything):
                continue
            if one.kind == MOUNT:
                if not await self._mounts.remove(one.id):
                    continue
            else:
                self._cache.drop(one.id)
            gone.append(one.id)
            freed += 0 if one.shared else one.size
        if gone:
            await asyncio.to_thread(self._cache.save)
            self._images.collect()
        return gone, freed, total - freed


def _seconds(text: str) -> float:
    from datetime import datetime

    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(text).timestamp()
    return 0.0


def _matcher(filters: Sequence[Filter]) -> Callable[[Kept], bool]:
    rules = [_rule(one.key, list(one.values)) for one in filters]
    return lambda kept: all(rule(kept) for rule in rules)


def _rule(key: str, values: Sequence[str]) -> Callable[[Kept], bool]:
    if key == "id":
        return lambda kept: any(_named(kept.id, value) for value in values)
    if key == "type":
        return lambda kept: kept.kind in values
    if key in ("inuse", "shared"):
        wanted = {truth(key, value or "true") for value in values}
        return lambda kept: (kept.in_use if key == "inuse" else kept.shared) in wanted
    if key in ("until", "unused-for"):
        ages = [parse_duration(value) / 1e9 for value in values]
        return lambda kept: all(time.time() - kept.used > age for age in ages)
    if key in ("description", "parent"):
        return lambda kept: any(
            value in (kept.text if key == "description" else kept.parent) for value in values
        )
    if key in ("label", "label!"):  # of `docker system prune`, which asks for all kinds alike
        return lambda kept: key == "label!"  # a cache's parts have no labels
    raise InvalidSpec(
        f"invalid filter {key[:40]!r}: use id, inuse, shared, type, until, unused-for"
    )


def _named(key: str, value: str) -> bool:
    return key.removeprefix("sha256:").startswith(value.removeprefix("sha256:"))
