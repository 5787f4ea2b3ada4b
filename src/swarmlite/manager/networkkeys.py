"""The managers' key of encrypted networks: made with the first of them, and replaced twice a day.

It is mixed into each handshake between nodes, whose own keys never leave them. Nodes hear of it by
their sessions. What two nodes agreed on holds for minutes, and by then both have a new one; a node
that has no manager all that time loses its tunnels until it hears of it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from swarmlite.errors import SwarmliteError
from swarmlite.model.encryption import KEY_BYTES, is_encrypted
from swarmlite.proto.objects_pb2 import Cluster

from .store.api import Fence, Fenced, Put, Resync, Store
from .store.tables import Tables

log = logging.getLogger(__name__)

LIFE = timedelta(hours=12)
RETRY_S = 1.0
LOOK_S = 60.0


def utc_now() -> datetime:
    """Now, of this host's clock."""
    return datetime.now(UTC)


async def keep(store: Store, fence: Fence, now: Callable[[], datetime] = utc_now) -> None:
    """A leader's duty. Raises Fenced; never returns."""
    while True:
        try:
            async with store.subscribe("network", "cluster") as events:
                while True:
                    await _replace_if_due(store, fence, now())
                    try:
                        async with asyncio.timeout(LOOK_S):
                            await anext(aiter(events))
                    except TimeoutError:
                        continue
        except Fenced:
            raise
        except (Resync, SwarmliteError) as error:
            log.info("key of encrypted networks: %r", error)
        except Exception:
            log.exception("key of encrypted networks: what was to be done is left to later")
        await asyncio.sleep(RETRY_S)


def is_due(view: Tables, now: datetime) -> bool:
    """Whether another key is to be made."""
    cluster = view.cluster
    if cluster is None or not any(map(is_encrypted, view.networks)):
        return False
    age = now - cluster.network_key_at.ToDatetime(UTC)
    return len(cluster.network_key) != KEY_BYTES or age >= LIFE


async def _replace_if_due(store: Store, fence: Fence, now: datetime) -> None:
    cluster = store.view.cluster
    if cluster is None or not is_due(store.view, now):
        return
    copy = Cluster()
    copy.CopyFrom(cluster)
    copy.network_key = secrets.token_bytes(KEY_BYTES)
    copy.network_key_at.FromDatetime(now)
    await store.commit([Put(copy)], fence)
    log.info("the key of encrypted networks is a new one")
