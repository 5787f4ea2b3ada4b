"""The daemon's part of unlocking a manager: one key is tried at a time, and a wrong one is answered
ever later. A right one never waits for that, so guessing locks nobody out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from swarmlite.errors import FailedPrecondition
from swarmlite.identity.lock import NOT_LOCKED, WRONG_KEY, KeyLock, secret_of
from swarmlite.paths import Paths

from . import oneshot

log = logging.getLogger(__name__)

FIRST_DELAY_S, LAST_DELAY_S = 1.0, 30.0


class Unlocking:
    """Counts the wrong keys since the last right one."""

    def __init__(
        self, paths: Paths, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Nothing is looked at yet."""
        self._paths = paths
        self._sleep = sleep
        self._trying = asyncio.Lock()
        self._wrong = 0

    async def unlock(self, key: str) -> None:
        """Raises InvalidSpec for what is no key, FailedPrecondition for a wrong one, and where
        nothing is locked.
        """
        secret_of(key)
        async with self._trying:
            if not KeyLock(self._paths).locked:
                raise FailedPrecondition(NOT_LOCKED)
            answer = await oneshot.run("unlock", self._paths, {"key": key}, log.info)
            wrong = bool(answer.get("wrong"))
            self._wrong = self._wrong + 1 if wrong else 0
            delay_s = min(FIRST_DELAY_S * 2 ** max(self._wrong - 1, 0), LAST_DELAY_S)
        if wrong:
            log.warning("a wrong unlock key, the %d. in a row", self._wrong)
            await self._sleep(delay_s)
            raise FailedPrecondition(WRONG_KEY)
