"""What agents and this manager have to say of tasks and nodes, written in batches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime

from swarmlite.errors import ResourceExhausted, Unavailable
from swarmlite.manager.store.api import Change, Store

from .reports import Reports

log = logging.getLogger(__name__)

SETTLE_S = 0.01
"""How long a first change waits for more: short, so that starting a task is quick."""

PERIOD_S = 0.06
"""The least time from one batch to the next."""

REPORTS = 1000
"""Tasks written at a time: enough for all the transactions that the store has under way at once."""

CHUNK = 100
"""Of them that are decided before other work has its turn."""

RETRY_S = 0.5


class ReportWriter:
    """One loop; whoever adds to `reports` calls `wake`."""

    def __init__(
        self, store: Store, node_id: str, reports: Reports, now: Callable[[], datetime]
    ) -> None:
        """`node_id` is this manager's own, `now` the time for what is stored."""
        self._store, self._node_id, self._reports, self._now = store, node_id, reports, now
        self._reported = asyncio.Event()

    def wake(self) -> None:
        """Something was reported."""
        self._reported.set()

    async def run(self) -> None:
        """Write until cancelled."""
        written_at = 0.0
        while True:
            await self._reported.wait()
            await asyncio.sleep(max(SETTLE_S, written_at + PERIOD_S - time.monotonic()))
            self._reported.clear()
            while self._reports:
                if not await self._write(await self._take()):
                    break
            written_at = time.monotonic()

    async def _take(self) -> list[Change]:
        """The changes of one batch, decided a few at a time."""
        slices, reports, changes = self._store.slices, self._reports, list[Change]()
        async with slices.one():
            changes += reports.take(self._store.view, self._now(), CHUNK, self._node_id)
        for _ in range(CHUNK, REPORTS, CHUNK):
            if not reports.has_more:
                break
            async with slices.one():
                changes += reports.take_more(self._store.view, self._now(), CHUNK, self._node_id)
        return changes

    async def _write(self, changes: list[Change]) -> bool:
        """False when it is to be tried again later."""
        try:
            refused = await self._store.commit_many(changes) if changes else []
        except (Unavailable, ResourceExhausted) as error:
            log.warning("reports not written error=%s", error)
            self._reports.failed()
            self._reported.set()
            await asyncio.sleep(RETRY_S)
            return False
        except Exception:
            log.exception("reports not written: each is tried by itself")
            refused = [c for c in changes if not await self._write_one(c)]
        self._reports.refused(refused)
        if refused:
            self._reported.set()
        return not refused

    async def _write_one(self, change: Change) -> bool:
        """False when it conflicted; what cannot be written costs itself and nothing else."""
        try:
            return not await self._store.commit_many([change])
        except (Unavailable, ResourceExhausted):
            return False
        except Exception:
            log.exception("report dropped id=%s", change.obj.id)
            self._reports.dropped(change)
            return True
