"""Users that were removed: refused from then on, and their tokens with them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from swarmlite.errors import NotFound, PermissionDenied
from swarmlite.ids import new_id
from swarmlite.manager import auth
from swarmlite.manager.ca import logins, users
from swarmlite.manager.ca.root import RootCA, Subject, new_request
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.proto import options_pb2
from swarmlite.proto.objects_pb2 import Cluster
from swarmlite.ui.cluster import role_word

DIGEST = "0" * 50


@dataclass
class World:
    """A cluster, its authority and the way of a login."""

    store: MemoryStore
    root: RootCA

    @property
    def cluster(self) -> Cluster:
        assert self.store.view.cluster is not None
        return self.store.view.cluster

    async def login(self, token: str) -> str:
        """The id of the user that the token makes."""
        login, user_id = logins.read(token, DIGEST, "secret", time.time()), new_id()
        subject = Subject(user_id, logins.SUBJECTS[login.role], self.cluster.id)
        certificate = self.root.issue(new_request()[1], subject)
        await users.add(self.store, user_id, login, token, certificate)
        return user_id

    def may_look(self, user_id: str) -> bool:
        """Whether calls of this user's are taken."""
        who = auth.Caller(options_pb2.ROLE_ADMIN, user_id, self.cluster.id)
        return auth._checked(who, self.store.view).role == options_pb2.ROLE_ADMIN


@pytest.fixture
async def world() -> World:
    store = MemoryStore()
    await store.commit([Put(Cluster(id="c"))])
    return World(store, RootCA.create())


def token_of(name: str, sooner_s: int = 0) -> str:
    expires = int(time.time()) + logins.LONGEST_S - sooner_s
    return logins.make(logins.Login(name, options_pb2.ROLE_ADMIN, expires), DIGEST, "secret")


async def test_a_removed_users_token_does_not_let_him_in_again(world: World) -> None:
    token = token_of("anna")
    user_id = await world.login(token)
    assert world.may_look(user_id)
    assert role_word(world.cluster.users[user_id], datetime.now(UTC)) == "admin"
    await users.remove(world.store, "anna")
    with pytest.raises(PermissionDenied, match="was removed"):
        world.may_look(user_id)
    assert role_word(world.cluster.users[user_id], datetime.now(UTC)) == ""
    with pytest.raises(PermissionDenied, match="used already"):
        await world.login(token)
    for ref in ("anna", user_id):
        with pytest.raises(NotFound):
            await users.remove(world.store, ref)
    again = await world.login(token_of("anna", 60))
    await users.remove(world.store, "anna")  # of two of this name only one is there
    assert again in world.cluster.users


async def test_a_token_that_outlives_its_certificate_serves_once_all_the_same(
    world: World,
) -> None:
    token = token_of("bob")
    user_id = await world.login(token)
    cluster = Cluster()
    cluster.CopyFrom(world.cluster)
    cluster.users[user_id].expires_at.FromDatetime(datetime.now(UTC) - timedelta(seconds=1))
    await world.store.commit([Put(cluster)])
    assert role_word(world.cluster.users[user_id], datetime.now(UTC)) == ""
    with pytest.raises(PermissionDenied, match="used already"):
        await world.login(token)


async def test_who_has_no_certificate_is_forgotten_once_no_token_is_as_old(world: World) -> None:
    gone, expired, stays = [await world.login(token_of(name)) for name in ("a", "b", "c")]
    await users.remove(world.store, gone)
    cluster, now = Cluster(), datetime.now(UTC)
    cluster.CopyFrom(world.cluster)
    cluster.users[expired].expires_at.FromDatetime(now)
    users._forget(cluster, now + timedelta(seconds=logins.LONGEST_S - 60))
    assert {*cluster.users} == {gone, expired, stays}
    users._forget(cluster, now + timedelta(seconds=logins.LONGEST_S + 60))
    assert {*cluster.users} == {stays}
