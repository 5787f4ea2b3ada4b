"""Autolock on this manager: its keys are sealed as the cluster says, with the cluster's unlock key.

A manager that is down while the key is rotated still takes the old one, and follows once it knows.
"""

from __future__ import annotations

import asyncio
import logging

from swarmlite.errors import SwarmliteError
from swarmlite.identity.lock import KeyLock, new_key
from swarmlite.proto.objects_pb2 import Cluster

from .store.api import Resync, Store

log = logging.getLogger(__name__)

RETRY_S = 5.0


def settle_key(cluster: Cluster, rotate: bool = False) -> None:
    """Give a cluster that locks its managers an unlock key, another one to `rotate`; else none."""
    if not cluster.spec.encryption.auto_lock_managers:
        cluster.ClearField("unlock_key")
    elif rotate or not cluster.unlock_key:
        cluster.unlock_key = new_key()


class Locking:
    """Of one manager."""

    def __init__(self, lock: KeyLock, store: Store) -> None:
        self._lock = lock
        self._store = store

    def follow(self) -> None:
        """Seal or open, as the view says now. Raises OSError, for a full disk say."""
        cluster = self._store.view.cluster
        if cluster is not None and self._lock.follow(cluster.unlock_key):
            log.info("this manager's keys are %s", "sealed" if cluster.unlock_key else "open")

    async def run(self) -> None:
        """Follow each change of the cluster; never returns."""
        while True:
            try:
                async with self._store.subscribe("cluster") as events:
                    self.follow()
                    async for _ in events:
                        self.follow()
            except Resync:
                continue
            except (OSError, SwarmliteError) as error:
                log.error("this manager's keys stay as they are for now: %s", error)
                await asyncio.sleep(RETRY_S)
