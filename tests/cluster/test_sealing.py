"""What is secret lies sealed in etcd, and every manager can read it."""

from __future__ import annotations

import base64
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from etcd_world import KEYS
from test_daemon import Node, _etcdctl, until

from swarmlite.ids import new_id
from swarmlite.manager import storekeys
from swarmlite.manager.store.api import Object, Put
from swarmlite.manager.store.etcd import open_store
from swarmlite.manager.store.etcd_client import EtcdClient
from swarmlite.manager.store.etcd_mirror import key_of
from swarmlite.manager.store.sealing import StoreKey, StoreKeys, UnknownKey, Unreadable
from swarmlite.proto.control_pb2 import (
    CreateSecretRequest,
    GetRequest,
    ListRequest,
    UpdateClusterRequest,
)
from swarmlite.proto.objects_pb2 import Cluster, Config, Secret, Service, Task
from swarmlite.testing.namespaces import Lan

PLACE = b"/swarmlite/v1/secret/one"


def test_a_value_is_opened_at_its_own_place_only() -> None:
    sealed = KEYS.seal(PLACE, b"hunter2")
    assert b"hunter2" not in sealed
    assert KEYS.open(PLACE, sealed) == b"hunter2"
    with pytest.raises(Unreadable):
        KEYS.open(b"/swarmlite/v1/secret/two", sealed)
    for broken in (
        sealed[:-1],
        sealed[:10],
        sealed[:-1] + bytes([sealed[-1] ^ 1]),
        b"\0\2" + sealed,
    ):
        with pytest.raises(Unreadable):
            KEYS.open(PLACE, broken)
    with pytest.raises(UnknownKey):
        StoreKeys([StoreKey.new()]).open(PLACE, sealed)


def test_a_new_key_seals_and_the_old_ones_open() -> None:
    keys = StoreKeys([StoreKey.new()])
    old = keys.seal(PLACE, b"value")
    assert keys.add([StoreKey.new()])
    new = keys.seal(PLACE, b"value")
    assert keys.open(PLACE, old) == keys.open(PLACE, new) == b"value"
    assert [keys.is_current(value) for value in (old, new, b"value")] == [False, True, False]


def test_a_key_shows_nothing_of_itself() -> None:
    key = StoreKey.new()
    assert key.secret.hex() not in repr(key) and repr(key.secret) not in repr(key)


def secrets_of_all_kinds() -> list[Object]:
    secret, config, cluster = Secret(id=new_id()), Config(id=new_id()), Cluster(id=new_id())
    service, task = Service(id=new_id()), Task(id=new_id())
    secret.spec.data = config.spec.data = cluster.root_ca.ca_key = b"do-not-tell"
    cluster.root_ca.join_tokens.manager = "do-not-tell"
    service.spec.task.container.pull_options.registry_auth = "do-not-tell"
    service.previous_spec.task.container.pull_options.registry_auth = "do-not-tell"
    task.spec.container.pull_options.registry_auth = "do-not-tell"
    return [secret, config, cluster, service, task]


async def stored(client: EtcdClient) -> dict[bytes, bytes]:
    return {kv.key: kv.value async for _, kvs in client.pages(b"/swarmlite/") for kv in kvs}


async def test_what_is_secret_is_in_no_value_and_in_every_view(client: EtcdClient) -> None:
    objects = secrets_of_all_kinds()
    async with open_store(client, KEYS) as store:
        await store.commit([Put(obj) for obj in objects])
        assert next(iter(store.view.secrets)).spec.data == b"do-not-tell"
        values = await stored(client)
        assert not [key for key, value in values.items() if b"do-not-tell" in value]
        # A batch that is sent again is known again, and an update is compared by its version.
        task = next(iter(store.view.tasks))
        assert await store.commit_many([Put(task)]) == []
    async with open_store(client, KEYS) as again:
        assert next(iter(again.view.clusters)).root_ca.ca_key == b"do-not-tell"


async def test_clear_values_and_those_of_an_older_key_are_written_again(
    client: EtcdClient,
) -> None:
    keys = StoreKeys()
    async with open_store(client, keys) as store:
        await store.commit([Put(obj) for obj in secrets_of_all_kinds()])
        assert sum(b"do-not-tell" in value for value in (await stored(client)).values()) == 5
        for _ in range(2):  # from nothing to a key, and from it to the next
            keys.add([StoreKey.new()])
            assert await storekeys.reseal(client, keys, store, None) == 5
            values = await stored(client)
            assert all(map(keys.is_current, values.values()))
            assert await storekeys.reseal(client, keys, store, None) == 0
    newest = StoreKeys(list(keys)[1:])
    async with open_store(client, newest) as again:
        assert next(iter(again.view.secrets)).spec.data == b"do-not-tell"


async def test_a_manager_that_lacks_a_key_learns_it_before_it_goes_on(
    client: EtcdClient, etcd: Any
) -> None:
    """At its start as well as under way; until then nothing of its view is older than it says."""
    ours, theirs = StoreKeys([StoreKey.new()]), StoreKeys()
    asked: list[bool] = []

    async def learn() -> None:
        asked.append(True)
        if len(asked) > 1:  # the first time nobody answers
            theirs.add(ours)

    other = etcd.client()
    secret, later = Secret(id=new_id()), Secret(id=new_id())
    async with open_store(client, ours) as store:
        await store.commit([Put(secret)])
        async with open_store(other, theirs, learn=learn) as reader:
            assert secret.id in reader.view.secrets
            ours.add([StoreKey.new()])
            await reader._mirror.reached(await store.commit([Put(later)]), 10)
            assert later.id in reader.view.secrets
    assert len(asked) >= 3
    await other.close()


async def test_one_value_that_was_changed_costs_itself_only(client: EtcdClient) -> None:
    good, bad = Secret(id=new_id()), Secret(id=new_id())
    async with open_store(client, KEYS) as store:
        await store.commit([Put(good)])
        value, _ = await client.get(key_of("secret", good.id))
        assert value is not None
        await client.put(key_of("secret", bad.id), value.value)
        await store.commit([Put(Config(id=new_id()))])
        assert good.id in store.view.secrets and bad.id not in store.view.secrets
    async with open_store(client, KEYS) as again:
        assert [secret.id for secret in again.view.secrets] == [good.id]


@pytest.fixture
def managers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    if os.geteuid() != 0:
        pytest.skip("machines of namespaces need root")
    root, lan = tmp_path_factory.mktemp("k"), Lan(f"clseal{os.getpid()}")
    nodes: list[Node] = []
    try:
        nodes.extend(Node(f"k{i}", lan, root) for i in range(2))
        made = nodes[0].request("init", listen_addr=f"{nodes[0].addr}:2377")
        token = nodes[0].tokens().manager
        nodes[1].request("join", token=token, remote=made["manager_addr"])
        yield nodes
    finally:
        for node in nodes:
            node.close()
        lan.close()
        shutil.rmtree(root, ignore_errors=True)


def found_below(folder: Path, text: bytes) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and text in p.read_bytes()]


def names(node: Node) -> list[str]:
    try:
        answer = node.control().ListSecrets(ListRequest(), timeout=5, wait_for_ready=True)
    except grpc.RpcError:
        return []
    return [secret.spec.annotations.name for secret in answer.secrets]


def _rotate(first: Node, second: Node) -> None:
    """A new key, asked of either manager: all is sealed with it, and history is forgotten."""
    old = {key.id for key in storekeys.load(first.paths.store_keys_file)}
    read = ("get", "--prefix", "/swarmlite/v1/secret/", "--print-value-only")
    revision = max(node.meta.version.index for node in first.nodes().values())

    def etcd(*arguments: str) -> bytes:
        return _etcdctl(first, first.paths.certificates_dir, *arguments)

    assert any(key in etcd(*read) for key in old)
    cluster = second.control().GetCluster(GetRequest(ref="default"), timeout=5)
    request = UpdateClusterRequest(version=cluster.meta.version, rotate_store_key=True)
    second.control().UpdateCluster(request, timeout=30)
    new = {key.id for key in storekeys.load(first.paths.store_keys_file)} - old
    assert len(new) == 1
    assert {k.id for k in storekeys.load(second.paths.store_keys_file)} == old | new
    for kind in ("secret", "cluster"):
        place = f"/swarmlite/v1/{kind}/"
        value = lambda place=place: etcd("get", "--prefix", place, "--print-value-only")  # noqa: E731
        until(lambda value=value: value().startswith(b"\0\1" + next(iter(new))), kind, 150)  # type: ignore[misc]

    def forgotten() -> bool:
        try:
            etcd(*read, f"--rev={revision}")
        except PermissionError as error:
            return "compacted" in str(error)
        return False

    until(forgotten, "etcd's history has the values of before no more", 150)
    assert names(first) == names(second) == ["password"]


@pytest.mark.timeout(400)
def test_no_disk_of_a_manager_has_a_secret_in_clear_and_each_of_them_reads_it(
    managers: list[Node],
) -> None:
    first, second = managers
    until(lambda: len(second.nodes()) == 2, "the second manager has the store")
    request = CreateSecretRequest()
    request.spec.annotations.name = "password"
    request.spec.data = b"correct horse battery staple"
    second.control().CreateSecret(request, timeout=30)
    for node in managers:
        until(lambda node=node: names(node) == ["password"], f"{node.name} reads it")  # type: ignore[misc]
    tokens = first.tokens()
    for node in managers:
        assert found_below(node.paths.etcd_dir, b"password"), "etcd's files hold the name"
        for text in (
            request.spec.data,
            b"BEGIN PRIVATE KEY",
            tokens.worker.encode(),
            tokens.manager.encode(),
        ):
            assert found_below(node.paths.etcd_dir, text) == [], text
        for key in storekeys.load(node.paths.store_keys_file):
            for form in (key.secret, base64.b64encode(key.secret)):
                assert found_below(node.paths.etcd_dir, form) == []
                assert found_below(node.paths.logs_dir, form) == []
        assert node.paths.store_keys_file.stat().st_mode & 0o777 == 0o600
        assert node.paths.manager_dir.stat().st_mode & 0o777 == 0o700
    _rotate(first, second)
    # The second one from its own disk, and what it signs with the CA's key is a node's.
    second.signal(signal.SIGTERM)
    second.start()
    until(lambda: names(second) == ["password"], "it reads it after a restart")
    second.request("leave", force=True)
    assert not second.paths.manager_dir.exists()
    second.request("join", token=tokens.worker, remote=first.addr)
    assert not second.paths.manager_dir.exists(), "a worker was given the store's keys"
