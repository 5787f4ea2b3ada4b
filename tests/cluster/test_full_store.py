"""A member of etcd that is full, and the care that brings it back: a real one with little room."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from etcd_world import KEYS, certify

from swarmlite.errors import ResourceExhausted, Unavailable
from swarmlite.identity.node import parse
from swarmlite.ids import new_id
from swarmlite.manager.ca.root import MANAGER, RootCA, Subject
from swarmlite.manager.etcdcare.care import Care
from swarmlite.manager.etcdcare.health import Health
from swarmlite.manager.etcdcare.restarts import Restarts
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.etcd import open_store
from swarmlite.manager.store.etcd_client import EtcdClient
from swarmlite.node import etcdcmd
from swarmlite.proto.control_pb2 import StoreHealthRequest
from swarmlite.proto.objects_pb2 import Config
from swarmlite.testing import reserved

pytestmark = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd-server is not installed")
QUOTA_BYTES = 16 * 1024**2


@pytest.fixture
def member(tmp_path: Path) -> Iterator[str]:
    """Where an etcd of QUOTA_BYTES listens; its certificates are beside it."""
    ports = [reserved.port(), reserved.port()]
    client_url, peer_url = (f"https://127.0.0.1:{port}" for port in ports)
    certificates = certify(RootCA.create(), tmp_path / "certificates", Subject("n1", MANAGER, "t"))
    member = {"name": "n1", "client_url": client_url, "peer_url": peer_url,
              "initial_cluster": f"n1={peer_url}", "initial_cluster_state": "new"}  # fmt: skip
    command = etcdcmd.command(
        "etcd", member, tmp_path / "data", certificates, quota_bytes=QUOTA_BYTES
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield etcdcmd.client_endpoint(member)
    finally:
        process.kill()
        process.wait()
        for port in ports:
            reserved.release(port)


@pytest.fixture
async def small(member: str, tmp_path: Path) -> AsyncIterator[EtcdClient]:
    """A client of it, once it answers."""
    client = EtcdClient([member], tmp_path / "certificates")
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unavailable):
                await client.status()
                break
    yield client
    await client.close()


def nobody(address: str) -> Any:
    raise AssertionError(f"there is no other manager to ask at {address}")


async def test_a_full_store_is_told_and_takes_writes_once_something_was_removed(
    small: EtcdClient, tmp_path: Path
) -> None:
    """Without a word of anybody: the care compacts, defragments and takes the alarm back."""
    node = parse({"node_id": "n1", "role": "manager", "listen_addr": "", "etcd_endpoints": [],
                  "hostname": "one", "etcd": {"name": "n1"}})  # fmt: skip
    view = SimpleNamespace(revision=0, nodes=[])
    store = cast("Any", SimpleNamespace(view=view))
    certificates = tmp_path / "certificates"
    health = Health(small, store, node, QUOTA_BYTES, nobody, certificates)
    care = Care(health, store, "n1", Restarts(tmp_path / "no.sock"))
    count = 0
    with pytest.raises(ResourceExhausted, match=r"remove services, .* greater --etcd-quota"):
        while True:
            await small.put(b"/large/%d" % count, os.urandom(400_000))
            count += 1
    assert count > 20
    await care.look()
    found = await health.whole(StoreHealthRequest())
    assert found.warnings[0].startswith("the cluster's store is full and takes no writes: remove")
    assert health.warnings == list(found.warnings)
    assert [(m.name, m.leader, m.error) for m in found.members] == [("one", True, "")]

    # The one that it refused may have been written all the same.
    assert await small.delete_all(b"/large/") - count in (0, 1)
    _, view.revision = await small.get(b"/large/0")
    async with asyncio.timeout(60):
        while await health.alarms():
            await care.look()
    await small.put(b"/small", b"x")
    found = await health.whole(StoreHealthRequest())
    assert list(found.warnings) == []
    assert found.members[0].size_bytes < QUOTA_BYTES / 4

    for _ in range(20):  # its disk is looked at as it writes
        await small.put(b"/small", b"x")
    await health.look_at_disk()
    assert (await health.own()).sync_s > 0


async def test_what_a_store_that_fills_up_refuses_is_not_there(small: EtcdClient) -> None:
    """Side by side, since etcd then writes some of what it answers with an error."""
    refused: list[Config] = []
    async with open_store(small, KEYS) as store:

        async def fill() -> None:
            for _ in range(100):
                config = Config(id=new_id())
                config.spec.annotations.name = config.id
                config.spec.data = os.urandom(400_000)
                try:
                    await store.commit([Put(config)])
                except ResourceExhausted:
                    refused.append(config)
                    return
                except Unavailable:  # a slow disk: whether it was written nobody knows
                    continue

        await asyncio.gather(*(fill() for _ in range(8)))
        assert len(refused) == 8
    async with open_store(small, KEYS) as store:
        there = store.view.table("config")
        assert len(there) > 20
        assert not [config.id for config in refused if config.id in there]
