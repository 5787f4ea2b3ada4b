"""The one driver of the leader's loops: events mark, `plan` decides, the store writes.

A loop decides and never does I/O, so that the simulation can run the same objects over a store in
memory with a fake clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from swarmlite.errors import Unavailable
from swarmlite.tallies import Durations

from .isolation import FIRST_DELAY_S, LAST_DELAY_S
from .store.api import Change, Event, Fence, Fenced, Resync, Store
from .store.tables import Tables

log = logging.getLogger(__name__)


class Loop(Protocol):
    """One of the leader's loops. It lives for one term of leadership."""

    kinds: tuple[str, ...]
    """The kinds of objects whose events it wants."""

    def reset(self, view: Tables) -> None:
        """Everything is dirty: at the start of a term, and whenever events were lost."""

    def observe(self, events: Sequence[Event]) -> None:
        """Mark what is dirty. It decides nothing here."""

    def plan(self, view: Tables, now: float) -> list[Change]:
        """What to write, from the view and the clock (seconds) only. Safe to repeat.

        Objects in the changes are copies, with the version that was read. What is planned is
        taken off the dirty marks; what the store refuses comes back through `refused`.
        """

    def refused(self, changes: Sequence[Change]) -> None:
        """These conflicted: mark them dirty again."""

    def wake_at(self) -> float | None:
        """When `plan` wants to be called without an event; None: only after events."""


class Tally:
    """What a loop did in this process's life, over all its terms."""

    def __init__(self) -> None:
        self.plans = Durations()
        self.commits = Durations()
        self.changes = self.refused = self.failures = 0


async def run(
    loop: Loop,
    store: Store,
    fence: Fence,
    clock: Callable[[], float],
    settle_s: float = 0.0,
    tally: Tally | None = None,
) -> None:
    """Drive `loop` until cancelled. `settle_s` waits for more events before each plan.

    Raises Fenced when another leader has been elected and Unavailable without a quorum, which end
    the term. Whatever else it raises is logged, and it starts over: the other loops go on.
    """
    delay_s = FIRST_DELAY_S
    tally = tally or Tally()
    while True:
        try:
            await _drive(loop, store, fence, clock, settle_s, tally)
        except (Fenced, Unavailable):
            raise
        except Exception:
            tally.failures += 1
            log.exception("a loop of the leader starts over loop=%s", type(loop).__name__)
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, LAST_DELAY_S)


async def _drive(
    loop: Loop,
    store: Store,
    fence: Fence,
    clock: Callable[[], float],
    settle_s: float,
    tally: Tally,
) -> None:
    async with store.subscribe(*loop.kinds) as subscription:
        async with store.slices.one():
            loop.reset(store.view)
        events = aiter(subscription)
        seen: Sequence[Event] = ()
        pending: asyncio.Future[Sequence[Event]] | None = None
        try:
            while True:
                # Each plan knows all that the view shows: no event of it is left unread.
                async with store.slices.one():
                    try:
                        loop.observe([*seen, *subscription.drain()])
                    except Resync:
                        loop.reset(store.view)
                    seen = ()
                    with tally.plans.timed():
                        changes = loop.plan(store.view, clock())
                if changes:
                    with tally.commits.timed():
                        refused = await store.commit_many(changes, fence)
                    tally.changes += len(changes) - len(refused)
                    if refused:
                        tally.refused += len(refused)
                        loop.refused(refused)
                wake_at = loop.wake_at()
                timeout = None if wake_at is None else wake_at - clock()
                if timeout is not None and timeout <= 0:
                    await asyncio.sleep(0)
                    continue
                pending = pending or asyncio.ensure_future(anext(events))
                await asyncio.wait([pending], timeout=timeout)
                if pending.done():
                    try:
                        seen = pending.result()
                    except Resync:
                        events = aiter(subscription)
                        async with store.slices.one():
                            loop.reset(store.view)
                    pending = None
                    if settle_s:
                        await asyncio.sleep(settle_s)
        finally:
            if pending is not None:
                pending.cancel()
