"""Users, as the cluster's object keeps them: who has a certificate, of which role, until when.

One who was removed stays without a role while the token that he came by could serve again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from swarmlite.errors import (
    Conflict,
    InvalidSpec,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from swarmlite.model.timestamps import set_now
from swarmlite.proto.objects_pb2 import Cluster
from swarmlite.proto.options_pb2 import ROLE_NONE

from ..store.api import Missing, Put, Store
from . import logins
from .root import life_of

MAX_USERS = 1000
WRITES = 20
LONGEST = timedelta(seconds=logins.LONGEST_S)


async def add(
    store: Store, user_id: str, login: logins.Login, token: str, certificate: bytes
) -> None:
    """Keep a new user. Raises PermissionDenied for a token that was used, ResourceExhausted."""
    used = logins.fingerprint(token)

    def change(cluster: Cluster) -> None:
        _forget(cluster, datetime.now(UTC))
        if any(user.token == used for user in cluster.users.values()):
            raise PermissionDenied("the login token was used already: ask for another one")
        if sum(user.role != ROLE_NONE for user in cluster.users.values()) >= MAX_USERS:
            raise ResourceExhausted(f"there are {MAX_USERS} users: remove some first")
        user = cluster.users[user_id]
        user.name, user.role, user.token = login.name, login.role, used
        set_now(user.issued_at)
        user.expires_at.FromDatetime(life_of(certificate)[1])

    await _changed(store, change)


async def remove(store: Store, ref: str) -> None:
    """By id, or by a name that one of them has. Raises Missing, InvalidSpec."""

    def change(cluster: Cluster) -> None:
        known = {key: user for key, user in cluster.users.items() if user.role != ROLE_NONE}
        found = [ref] if ref in known else [key for key in known if known[key].name == ref]
        if not found:
            # The cluster may have been written by another manager just now.
            raise Missing("cluster", cluster.id, f"user {ref} not found")
        if len(found) > 1:
            raise InvalidSpec(f"user {ref} is ambiguous ({len(found)} have this name): give the id")
        cluster.users[found[0]].role = ROLE_NONE

    await _changed(store, change)


def _forget(cluster: Cluster, now: datetime) -> None:
    """Who has no certificate any more, once no token can be as old as his is."""
    for user_id, user in list(cluster.users.items()):
        expired = user.role == ROLE_NONE or user.expires_at.ToDatetime(UTC) < now
        if expired and user.issued_at.ToDatetime(UTC) + LONGEST < now:
            del cluster.users[user_id]


async def _changed(store: Store, change: Callable[[Cluster], None]) -> None:
    for _ in range(WRITES):
        stored = store.view.cluster
        if stored is None:
            break
        cluster = Cluster()
        cluster.CopyFrom(stored)
        change(cluster)
        try:
            await store.commit([Put(cluster)])
        except Conflict:
            continue
        return
    raise Unavailable("the cluster's object is changed by others all the time; try again")
