"""What a manager's check of its mirror costs, on a real etcd with 100,000 objects: two minutes.

Rounds of it are made one after the other, and their processor time, of this process and of etcd, is
taken for the time that lies between two of them.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import mean

from swarmlite.ids import new_id
from swarmlite.manager.ca.root import MANAGER, RootCA, Subject, new_request
from swarmlite.manager.store.api import Change, Put
from swarmlite.manager.store.etcd import EtcdStore, open_store
from swarmlite.manager.store.etcd_client import EtcdClient
from swarmlite.manager.store.sealing import StoreKey, StoreKeys
from swarmlite.manager.store.selfcheck import CHECK_S, COUNTING_SHARE, SelfCheck
from swarmlite.model import task_states
from swarmlite.node import etcdcmd
from swarmlite.proto.objects_pb2 import Node, Service, Task
from swarmlite.testing import reserved

from .spending import cpu_s
from .table import Row, alone_row

OBJECTS = 100_000
SERVICES, NODES = 2000, 1000
ROUNDS = 30
WRITES_A_SECOND = 20


def measure() -> list[Row]:
    """The share of a core that checking takes, etcd's part included."""
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        async with _etcd(Path(folder)) as (client, other, pid):
            keys = StoreKeys([StoreKey.new()])
            async with open_store(other, keys) as writer:
                await _fill(writer)
            async with open_store(other, keys) as writer, open_store(client, keys) as store:
                check = SelfCheck(client, store._mirror, "bench")
                await check.check()
                rounds = _Rounds(check, store, pid)
                counting = await rounds.share(counting=True)
                idle = await rounds.share()
                busy = await rounds.share(lambda: _write(writer, int(CHECK_S * WRITES_A_SECOND)))
    what = f"checking a mirror of {OBJECTS:,} objects"
    return [
        alone_row(f"{what}, {when}", "% of a core", share, at_most=1)
        for when, share in (
            ("nothing is written", idle + counting),
            (f"{WRITES_A_SECOND} writes a second", busy + counting),
        )
    ] + [alone_row(f"{what}, of it etcd's counting", "% of a core", counting)]


class _Rounds:
    """Of one check; `etcd` is the member's pid."""

    def __init__(self, check: SelfCheck, store: EtcdStore, etcd: int) -> None:
        self._check, self._store, self._etcd = check, store, etcd

    async def share(
        self, before: Callable[[], Awaitable[int]] | None = None, *, counting: bool = False
    ) -> float:
        """Of a core, in percent: of rounds, or of what their counting adds at most."""
        took = []
        for _ in range(ROUNDS):
            if before is not None:
                await self._store._mirror.reached(await before(), 60)
            self._check._count_from = 0.0 if counting else float("inf")
            cpu, begun = self._cpu_s(), time.monotonic()
            await self._check._mark() if counting else await self._check.check()
            cpu, lasted = self._cpu_s() - cpu, time.monotonic() - begun
            every_s = max(CHECK_S, lasted / COUNTING_SHARE) if counting else CHECK_S
            took.append(100 * cpu / every_s)
        return mean(took)

    def _cpu_s(self) -> float:
        return time.process_time() + cpu_s([self._etcd])


async def _fill(store: EtcdStore) -> None:
    nodes = [Node(id=new_id()) for _ in range(NODES)]
    services = []
    for number in range(SERVICES):
        service = Service(id=new_id())
        service.spec.annotations.name = f"service{number}"
        services.append(service)
    tasks = []
    for number in range(OBJECTS - NODES - SERVICES):
        service = services[number % SERVICES]
        task = Task(id=new_id(), service_id=service.id, slot=number // SERVICES + 1)
        task.node_id = nodes[number % NODES].id
        task.spec.container.image = "registry.example.com/team/application:latest"
        task.spec.container.env.extend(f"VARIABLE{each}=value" for each in range(8))
        task.status.state = task.desired_state = task_states.RUNNING
        tasks.append(task)
    objects: list[Change] = [Put(each) for each in (*nodes, *services, *tasks)]
    for first in range(0, len(objects), 5000):
        assert not await store.commit_many(objects[first : first + 5000])


async def _write(store: EtcdStore, count: int) -> int:
    """Change so many tasks; the revision of the last change."""
    for task in list(store.view.tasks)[:count]:
        changed = Task()
        changed.CopyFrom(task)
        changed.status.message += "."
        await store.commit([Put(changed)])
    return store.view.revision


@asynccontextmanager
async def _etcd(folder: Path) -> AsyncIterator[tuple[EtcdClient, EtcdClient, int]]:
    """A member as a manager has it; two clients of it, and its pid."""
    root, node_id = RootCA.create(), new_id()
    key, csr = new_request()
    certificates = folder / "certificates"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(root.cert)
    (certificates / "node.key").write_bytes(key)
    (certificates / "node.crt").write_bytes(root.issue(csr, Subject(node_id, MANAGER, "bench")))
    ports = reserved.port(), reserved.port()
    client_url, peer_url = (f"https://127.0.0.1:{port}" for port in ports)
    member = {
        "name": node_id,
        "client_url": client_url,
        "peer_url": peer_url,
        "initial_cluster": f"{node_id}={peer_url}",
        "initial_cluster_state": "new",
    }
    binary = shutil.which("etcd")
    if binary is None:
        raise RuntimeError("etcd not found: apt-get install etcd-server")
    command = etcdcmd.command(binary, member, folder / "data", certificates)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    clients = [EtcdClient([etcdcmd.client_endpoint(member)], certificates) for _ in range(2)]
    try:
        yield clients[0], clients[1], process.pid
    finally:
        for client in clients:
            await client.close()
        process.kill()
        await process.wait()
        for port in ports:
            reserved.release(port)
