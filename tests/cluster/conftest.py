"""A real etcd behind mTLS, one a test module, with a store per test on a clean key space."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from etcd_world import KEYS, certify

from swarmlite.ids import new_id
from swarmlite.manager.ca.root import MANAGER, RootCA, Subject
from swarmlite.manager.store.etcd import open_store
from swarmlite.manager.store.etcd_client import EtcdClient
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.node import etcdcmd
from swarmlite.testing import reserved


@dataclass
class Etcd:
    """A running member."""

    root: RootCA
    certificates_dir: Path
    endpoint: str
    command: list[str]
    process: subprocess.Popen[bytes]
    node_id: str
    log: Path

    def start(self) -> None:
        self.process = _spawn(self.command, self.log)

    def stop(self, kill: bool = True) -> None:
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait()

    def client(self) -> EtcdClient:
        return EtcdClient([self.endpoint], self.certificates_dir)


def _spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    binary = shutil.which("etcd")
    if binary is None:
        pytest.skip("etcd not found: apt-get install etcd-server")
    folder = tmp_path_factory.mktemp("etcd")
    root = RootCA.create()
    node_id = new_id()
    certificates = certify(root, folder / "certificates", Subject(node_id, MANAGER, "test"))
    client, peer = reserved.port(), reserved.port()
    member = {
        "name": node_id,
        "client_url": f"https://127.0.0.1:{client}",
        "peer_url": f"https://127.0.0.1:{peer}",
        "initial_cluster": f"{node_id}=https://127.0.0.1:{peer}",
        "initial_cluster_state": "new",
    }
    command = etcdcmd.command(binary, member, folder / "data", certificates)
    log = folder / "etcd.log"
    server = Etcd(
        root, certificates, f"127.0.0.1:{client}", command, _spawn(command, log), node_id, log
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", client), 1).close()
                break
            except OSError:
                assert server.process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield server
    finally:
        server.stop()
        reserved.release(client)
        reserved.release(peer)
        shutil.rmtree(folder, ignore_errors=True)


async def wipe(client: EtcdClient) -> None:
    from aetcd import rpc

    await client._call(client._kv.DeleteRange, rpc.DeleteRangeRequest(key=b"/", range_end=b"0"))


@pytest.fixture
async def client(etcd: Etcd) -> AsyncIterator[EtcdClient]:
    connection = etcd.client()
    await wipe(connection)
    yield connection
    await connection.close()


@pytest.fixture(params=["memory", "etcd"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[object]:
    """Both stores, each empty; the event loop of the test."""
    if request.param == "memory":
        yield MemoryStore()
        return
    connection = request.getfixturevalue("etcd").client()
    await wipe(connection)
    async with open_store(connection, KEYS) as opened:
        yield opened
    await connection.close()


os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
