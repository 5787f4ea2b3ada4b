"""The nftables of the host's namespace, loaded: changes, repairs, and whose part was refused.

What is to be there is decided elsewhere, on the event loop; here it is brought into the kernel.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from swarmlite.errors import FailedPrecondition
from swarmlite.network import nft
from swarmlite.network.netns import Threads
from swarmlite.network.ruleset import Members, Table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What the tables are to hold."""

    tables: Mapping[Table, Members] = field(default_factory=dict)
    targets: Mapping[tuple[str, int], frozenset[str]] = field(default_factory=dict)
    """(protocol, published port) to the addresses that answer it."""


class Source(Protocol):
    """Where the rules come from; `HostWiring` is one."""

    def wanted(self, without: Collection[str]) -> Wanted:
        """All but the parts of the owners `without`."""

    def owners(self) -> Mapping[str, bytes]:
        """Who has a part of its own, and a fingerprint that changes with the part."""


class Rules:
    """One event loop's; callers that come together share one change."""

    def __init__(self, threads: Threads, source: Source) -> None:
        self._threads, self._source = threads, source
        self._lock = asyncio.Lock()
        self._known: Wanted | None = None
        self._asked = self._answered = 0
        self._refused: dict[str, tuple[bytes, str]] = {}

    def refused(self) -> dict[str, str]:
        """Owners whose part is left out, with what the kernel said."""
        return {owner: reason for owner, (_, reason) in self._refused.items()}

    @property
    def lost(self) -> bool:
        """Whether it is not known what the kernel has."""
        return self._known is None

    async def refresh(self, *, force: bool = False) -> frozenset[tuple[str, int]]:
        """Bring the tables to what is desired now; the ports that began to be answered by it.

        Raises FailedPrecondition when the kernel refuses what nobody can be left out for.
        """
        self._asked += 1
        asked = self._asked
        async with self._lock:
            if self._answered >= asked and not force:
                return frozenset()  # whoever had the lock before began after this was asked
            answers = self._asked
            known = self._known
            self._forgive()
            wanted = self._source.wanted(self._refused.keys())
            if wanted == known and not force:
                self._answered = answers
                return frozenset()
            self._known = None  # unknown, should it fail or be cancelled
            try:
                await self._load(None if force else known, wanted)
            except nft.Unasked:
                raise
            except FailedPrecondition as error:
                wanted = await self._narrow_down(error)
            self._known, self._answered = wanted, answers
            return _appeared(known, wanted)

    def _forgive(self) -> None:
        """An owner whose part changed is tried again."""
        if not self._refused:
            return
        owners = self._source.owners()
        self._refused = {
            owner: kept for owner, kept in self._refused.items() if owners.get(owner) == kept[0]
        }

    async def _load(self, known: Wanted | None, wanted: Wanted) -> None:
        text = change(known, wanted)

        if text:
            await self._threads.run(lambda: nft.run(text, whole=known is None))

    async def _narrow_down(self, error: FailedPrecondition) -> Wanted:
        """Load all but the parts that the kernel refuses, found by halving."""
        owners = dict(self._source.owners())
        wanted = self._source.wanted(owners.keys())
        await self._load(None, wanted)  # without anyone's part: or else it is nobody's fault
        log.warning("some published ports are refused: %s", error)
        admitted: set[str] = set()
        waiting = [sorted(owners)]
        while waiting:
            group = waiting.pop()
            if not group:
                continue
            tried = self._source.wanted(owners.keys() - admitted - set(group))
            try:
                await self._load(wanted, tried)
            except nft.Unasked:
                raise
            except FailedPrecondition as reason:
                if len(group) == 1:
                    self._refused[group[0]] = (owners[group[0]], str(reason))
                    log.error("published ports left out owner=%s error=%s", group[0], reason)
                    continue
                middle = len(group) // 2
                waiting += [group[middle:], group[:middle]]
            else:
                admitted |= set(group)
                wanted = tried
        return wanted

    async def changed_by_others(self) -> bool:
        """Whether anyone else changed rules here since all were loaded. Raises OSError."""
        async with self._lock:  # or what we have yet to load would be another's change
            return await self._threads.run(nft.changed_by_others)

    async def remove(self, tables: Iterable[Table]) -> None:
        """Take the tables away; safe when they are not there. Raises FailedPrecondition."""
        async with self._lock:
            self._known = None
            text = "".join(table.remove() for table in tables)
            await self._threads.run(lambda: nft.run(text))


def change(known: Wanted | None, wanted: Wanted) -> str:
    """The transaction from `known` (None: whatever is there) to `wanted`."""
    before = {} if known is None else known.tables
    texts = [
        table.change(before[table], members) if table in before else table.load(members)
        for table, members in wanted.tables.items()
    ]
    texts += [table.remove() for table in before if table not in wanted.tables]
    return "".join(texts)


def _appeared(known: Wanted | None, wanted: Wanted) -> frozenset[tuple[str, int]]:
    # At the first load all of it may have been there before this process.
    if known is None:
        return frozenset()
    return frozenset(
        port for port, targets in wanted.targets.items() if targets and not known.targets.get(port)
    )
