"""The mirror checks itself against etcd: a watch is a hint, and some versions lose events of it.

Each round writes a mark, reads how many objects etcd has at the mark's revision, and reads again
from etcd's history what was written since the last round: its cost is that of the changes, and
nothing where there are none. What the mirror missed is applied and published like any event; what
came late is ignored then, for it lies below the revision that was checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence

from aetcd import rpc as etcd

from swarmlite.errors import SwarmliteError, Unavailable

from .api import type_of_kind
from .etcd_client import Compacted, EtcdClient, prefix_end
from .etcd_mirror import CHECKS, PREFIX, Mirror, key_of
from .sealing import UnknownKey

log = logging.getLogger(__name__)

CHECK_S = 8.0
COUNTING_SHARE = 0.008
"""Of the time that etcd may count for: 3.4 walks every key, 130 ms of a core for 100,000."""
COMPARED = 500
"""Changes that are compared with the view before other work has its turn."""
LATE_S = 3.0
"""How long the watch may take to bring the mark before what it missed is read; and the history."""


class SelfCheck:
    """One manager's; `run` is for as long as its mirror's."""

    def __init__(
        self,
        client: EtcdClient,
        mirror: Mirror,
        name: str,
        check_s: float = CHECK_S,
        late_s: float = LATE_S,
    ) -> None:
        """`name` is the manager's own: its mark lies under it."""
        self.healed = 0
        """Objects that were put right, for whoever watches this manager."""
        self._client, self._mirror = client, mirror
        self._check_s, self._late_s = check_s, late_s
        mirror.mark_key = CHECKS + name.encode()
        self._late = 0
        self._count_from = 0.0

    async def run(self) -> None:
        """Ends only by cancellation. Without a quorum nothing can be checked."""
        while True:
            await asyncio.sleep(self._check_s)
            try:
                await self.check()
            except Compacted:
                log.warning("what changed since the last check was compacted: listing again")
                self._mirror.list_again()
            except UnknownKey:
                self._mirror.list_again()  # which learns it
            except SwarmliteError as error:
                log.debug("not checked: %s", error)

    async def check(self) -> int:
        """One round; how many objects were put right. Raises SwarmliteError, Compacted."""
        mirror = self._mirror
        since = mirror.checked
        revision, counts = await self._mark()
        with contextlib.suppress(Unavailable):
            await mirror.reached(revision, self._late_s)
        self._late = 0 if mirror.view.revision >= revision else self._late + 1
        try:
            changed = await self._changed(since + 1, revision)
        except Unavailable:
            # Else the next round has the same to read, and more: a listing is paged.
            mirror.list_again()
            raise
        healed = mirror.heal(await self._missed(changed), revision)
        self.healed += healed
        if healed:
            log.warning("the watch had lost or turned round %d changes: put right", healed)
        elif counts and mirror.marked[0] == revision and mirror.marked[1] != counts:
            log.warning("the mirror has %s, etcd %s: listing again", mirror.marked[1], counts)
            mirror.list_again()
        if self._late:
            log.warning("the watch was late by more than %.0f s: beginning another", self._late_s)
            mirror.watch_again()
        return healed

    async def _missed(self, changed: Sequence[etcd.Event]) -> list[etcd.Event]:
        """What the view may lack of it, found a part at a time: after a burst it is a long list."""
        missed: list[etcd.Event] = []
        for first in range(0, len(changed), COMPARED):
            async with self._mirror.slices.one():
                part = changed[first : first + COMPARED]
                missed += [change for change in part if not self._mirror.has(change)]
        return missed

    async def _mark(self) -> tuple[int, Mapping[str, int]]:
        """Write the mark; its revision, and etcd's number of objects of each kind at it, or nothing
        where it is too early to count again.
        """
        request = etcd.TxnRequest()
        request.success.add().request_put.key = self._mirror.mark_key
        begun = time.monotonic()
        kinds = list(type_of_kind) if begun >= self._count_from else []
        for kind in kinds:
            found = request.success.add().request_range
            prefix = key_of(kind, "")
            found.key, found.range_end, found.count_only = prefix, prefix_end(prefix), True
        answer = await self._client.txn(request)
        if kinds:
            now = time.monotonic()
            self._count_from = now + (now - begun) / COUNTING_SHARE
        counts = [response.response_range.count for response in answer.responses[1:]]
        return answer.header.revision, dict(zip(kinds, counts, strict=True))

    async def _changed(self, first: int, last: int) -> list[etcd.Event]:
        """The last event of each key that changed in these revisions."""
        found: dict[bytes, etcd.Event] = {}
        async with contextlib.aclosing(
            self._client.history(PREFIX, first, last, prefix_end(PREFIX))
        ) as history:
            async for events in history:
                for event in events:
                    found[event.kv.key] = event
        return list(found.values())
