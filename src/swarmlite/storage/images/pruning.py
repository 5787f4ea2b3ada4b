"""Which images may go: asked for by `image prune`, or by the limits that a node's owner set."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from swarmlite.errors import InvalidSpec
from swarmlite.storage.images.index import Entry

DAY_S = 86_400.0


@dataclass(frozen=True)
class Policy:
    """When images go by themselves; 0 is never. `disk_percent` is of the store's disk, used."""

    unused_days: int = 0
    disk_percent: int = 0

    @classmethod
    def from_environment(cls) -> Policy:
        """SWARMLITE_IMAGE_UNUSED_DAYS and SWARMLITE_IMAGE_DISK_PERCENT. Raises InvalidSpec."""
        return cls(
            _number("SWARMLITE_IMAGE_UNUSED_DAYS", 36_500),
            _number("SWARMLITE_IMAGE_DISK_PERCENT", 100),
        )

    def __bool__(self) -> bool:
        return bool(self.unused_days or self.disk_percent)


def _number(name: str, most: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return 0
    if not text.isdecimal() or int(text) > most:
        raise InvalidSpec(f"{name}={text[:40]!r}: expected a number from 0 to {most}")
    return int(text)


def matching(
    entries: Iterable[Entry],
    in_use: Collection[str],
    *,
    all_unused: bool,
    before: float | None,
    labels: Callable[[dict[str, str]], bool],
    created: Callable[[Entry], float],
) -> list[Entry]:
    """Those without a tag (with `all_unused`: all) that nobody uses and the filters take."""
    return [
        entry
        for entry in entries
        if entry.id not in in_use
        and (all_unused or not entry.tags)
        and (before is None or created(entry) < before)
        and labels(labels_of(entry))
    ]


def labels_of(entry: Entry) -> dict[str, str]:
    """The image's labels."""
    inner = entry.config.get("config") or {}
    return dict(inner.get("Labels") or {})


def unused_since(
    entries: Iterable[Entry], in_use: Collection[str], policy: Policy, now: float
) -> list[Entry]:
    """Those that nobody has asked for in the policy's days; a time ahead of now counts as now."""
    if not policy.unused_days:
        return []
    oldest = now - policy.unused_days * DAY_S
    return [
        entry for entry in entries if entry.id not in in_use and 0 < last_use(entry, now) < oldest
    ]


def least_recently_used(
    entries: Iterable[Entry], in_use: Collection[str], now: float
) -> Sequence[Entry]:
    """What may go when the disk is full, the longest unused first."""
    free = [entry for entry in entries if entry.id not in in_use]
    return sorted(free, key=lambda entry: (last_use(entry, now), entry.id))


def last_use(entry: Entry, now: float) -> float:
    """When it was asked for last, or came; 0 where an older store did not note it."""
    return min(max(entry.used, entry.added), now)
