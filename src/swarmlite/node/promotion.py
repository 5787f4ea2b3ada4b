"""The daemon's part of a promotion: it makes a manager of this worker once the cluster wants it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from swarmlite.errors import SwarmliteError
from swarmlite.identity.files import LOOK_EVERY_S, Identity
from swarmlite.paths import Paths

from . import hostcheck, oneshot

log = logging.getLogger(__name__)

RETRY_S = 5.0


class Promotion:
    """One loop. What hinders is kept in node.json, from where the agent tells the managers."""

    def __init__(self, paths: Paths, etcd_binary: str, changing: asyncio.Lock) -> None:
        """`changing` is held by whoever changes what this node is."""
        self._paths = paths
        self._identity = Identity(paths)
        self._etcd_binary = etcd_binary
        self._changing = changing

    async def run(self) -> None:
        """Ends only by cancellation; who follows the identity starts what a manager runs."""
        while True:
            delay_s = LOOK_EVERY_S
            try:
                if self._wanted() and not await self._promoted():
                    delay_s = RETRY_S
            except (SwarmliteError, OSError) as error:  # node.json is broken, the disk is full
                log.error("promotion: %s", error)
            await asyncio.sleep(delay_s)

    def _wanted(self) -> bool:
        node = self._identity.read()
        return node is not None and node.promoted and not node.manager

    async def _promoted(self) -> bool:
        async with self._changing:
            if not self._wanted():
                return True
            try:
                # Of no matter where the store is an etcd that was there before.
                missing = hostcheck.check_etcd(self._etcd_binary)  # no thread: see daemon._main
                said: Callable[[str], None] = lambda line: log.info("promotion: %s", line)  # noqa: E731
                await oneshot.run("promote", self._paths, {"etcd_missing": missing}, said)
            except SwarmliteError as error:
                log.warning("this node does not become a manager yet: %s", error)
                if self._wanted():
                    self._identity.promote(True, str(error))
                return False
            return True
