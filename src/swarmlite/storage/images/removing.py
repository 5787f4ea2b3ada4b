"""Taking names, images, layers and blobs away."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

from swarmlite.errors import FailedPrecondition, InvalidSpec, ResourceExhausted
from swarmlite.model.references import Reference
from swarmlite.storage import trees
from swarmlite.storage.images import pruning
from swarmlite.storage.images.catalog import Catalog
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.index import Entry
from swarmlite.storage.images.types import Removed
from swarmlite.storage.leases import holding


class Removing:
    """Removes from one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def remove(self, ref: str, *, force: bool, in_use: Collection[str]) -> Removed:
        """See ImageStore."""
        entry = self._catalog.index.find(ref)
        holders = self._catalog.leases.holders(image=entry.id)
        used = entry.id in in_use or bool(holders)
        names = _names_to_drop(entry, ref)
        if names is None and len(entry.tags) > 1 and not force:
            raise FailedPrecondition(
                f"image {ref} has several names, use force: {', '.join(entry.tags)}"
            )
        untagged = entry.names if names is None else names
        last = not set(entry.tags) - set(untagged)
        if last and used and not force:
            raise FailedPrecondition(f"image {ref} is in use by {holding(holders)}")
        entry.tags = [tag for tag in entry.tags if tag not in untagged]
        entry.digests = [name for name in entry.digests if name not in (names or ())]
        if not last or used:
            await self._catalog.save()
            return Removed(untagged=tuple(untagged))
        untagged = list(dict.fromkeys([*untagged, *entry.digests]))
        return await self._delete([entry], untagged)

    async def prune(
        self,
        *,
        all_unused: bool,
        before: float | None,
        labels: Callable[[dict[str, str]], bool],
        in_use: Collection[str],
    ) -> Removed:
        """See ImageStore."""
        chosen = pruning.matching(
            self._catalog.index.entries.values(),
            {*in_use, *self._catalog.ids_in_use()},
            all_unused=all_unused,
            before=before,
            labels=labels,
            created=_created,
        )
        return await self._delete(chosen, [name for entry in chosen for name in entry.names])

    async def delete(self, ids: Collection[str], *, wait: bool) -> Removed:
        """See ImageStore."""
        there = self._catalog.index.entries
        entries = [there[key] for key in ids if key in there]
        removed = await self._delete(entries, [name for entry in entries for name in entry.names])
        if wait:
            await in_thread(trees.wait_for_discards)
        return removed

    async def _delete(self, entries: Sequence[Entry], untagged: Sequence[str]) -> Removed:
        for entry in entries:
            self._catalog.index.entries.pop(entry.id, None)
        gone = [entry.id for entry in entries]
        try:
            await self._catalog.save()
            layers, freed = self._catalog.collect()
        except ResourceExhausted:  # what goes makes the room to say so
            layers, freed = self._catalog.collect()
            await in_thread(trees.wait_for_discards)
            await self._catalog.save()
        deleted = (*gone, *(layer.chain_id for layer in layers))
        return Removed(tuple(untagged), deleted, freed, tuple(gone))


def _names_to_drop(entry: Entry, ref: str) -> list[str] | None:
    """The names that `ref` stands for; None when it is an id."""
    if ref in (entry.id, entry.id.removeprefix("sha256:")):
        return None
    try:
        reference = Reference.parse(ref)
    except InvalidSpec:
        return None
    if reference.digest:
        return [name for name in entry.digests if name == reference.pinned(reference.digest)]
    return [reference.tagged] if reference.tagged in entry.tags else None


def _created(entry: Entry) -> float:
    """When the image was made; one that does not say so is as old as can be."""
    # Go writes nanoseconds, Python reads microseconds
    text = re.sub(r"(\.\d{6})\d+", r"\1", str(entry.config.get("created")))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
