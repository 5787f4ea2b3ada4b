"""The managers' etcd is cared for: full it says so and comes out of it, and one member at a time is
away, whether it is defragmented or starts again after a rotation of the CA.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from test_daemon import Node, until
from test_promotion import swarmlite

from swarmlite.proto.control_pb2 import (
    CreateConfigRequest,
    RemoveRequest,
    StoreHealth,
    StoreHealthRequest,
)
from swarmlite.proto.specs_pb2 import ConfigSpec
from swarmlite.testing.namespaces import Lan

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd-server is not installed"),
    pytest.mark.timeout(900),
]
WAIT_S = 200
QUOTA_MIB = 16


class SmallNode(Node):
    """A node whose etcd has little room."""

    def command(self, *options: str) -> list[str]:
        return super().command(f"--etcd-quota={QUOTA_MIB}m", *options)


@pytest.fixture(scope="module")
def managers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    root, lan = tmp_path_factory.mktemp("g"), Lan(f"clcare{os.getpid()}")
    made: list[Node] = []
    try:
        made.extend(SmallNode(f"g{i}", lan, root) for i in range(3))
        first = made[0].request("init", listen_addr=f"{made[0].addr}:2377")
        token = made[0].tokens().manager
        for node in made[1:]:
            node.request("join", token=token, remote=first["manager_addr"])
        until(lambda: not health(made[0]).warnings and voters(made[0]) == 3, "all vote", WAIT_S)
        yield made
    finally:
        for node in made:
            node.close()
        lan.close()
        shutil.rmtree(root, ignore_errors=True)


def health(node: Node) -> StoreHealth:
    try:
        answer: StoreHealth = node.control().GetStoreHealth(
            StoreHealthRequest(), timeout=20, wait_for_ready=True
        )
    except grpc.RpcError:
        return StoreHealth(warnings=["nobody answers"])
    return answer


def voters(node: Node) -> int:
    return sum(not m.learner and not m.error for m in health(node).members)


class Away:
    """Which members do not answer or are busy, seen all the time from outside of the managers."""

    def __init__(self, nodes: list[Node]) -> None:
        self.most = 0
        self.been: set[str] = set()
        self._nodes = nodes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            away = {node.name for node in self._nodes if self._restarts(node)}
            self.been |= away
            self.most = max(self.most, len(away))
            time.sleep(0.02)

    @staticmethod
    def _restarts(node: Node) -> bool:
        try:
            return not node.request("status")["children"].get("etcd", {}).get("pid")
        except Exception:
            return False

    def __enter__(self) -> Away:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_full_store_says_so_and_takes_writes_again_once_something_is_removed(
    managers: list[Node],
) -> None:
    """Every refused write, `node ls` and `info` tell the way out, and it is one."""
    first = managers[0]
    refused, made = "", []
    for number in range(200):
        spec = ConfigSpec(data=os.urandom(400_000))
        spec.annotations.name = f"large{number}"
        try:
            request = CreateConfigRequest(spec=spec)
            made.append(first.control().CreateConfig(request, timeout=30).id)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:  # type: ignore[attr-defined]
                refused = error.details()  # type: ignore[attr-defined]
                break
    assert "the cluster's store is full and takes no writes: remove" in refused
    assert "--etcd-quota" in refused
    until(lambda: "WARNING: the cluster's store is full" in told(first, "info"), "told", WAIT_S)
    until(lambda: "WARNING: the cluster's store is full" in told(first, "node", "ls"), "told", 200)
    assert f"quota {QUOTA_MIB}MiB" in told(first, "info")

    for config_id in made:
        until(lambda config_id=config_id: _removed(first, config_id), "it is removed", WAIT_S)  # type: ignore[misc]
    until(lambda: _writes(managers[1]), "the store takes writes again", WAIT_S)
    until(lambda: not health(first).warnings, "nothing is told any more", WAIT_S)
    # Each file is made smaller in its turn, also when there is room already.
    sizes = lambda: [member.size_bytes for member in health(first).members]  # noqa: E731
    until(lambda: len(sizes()) == 3, "all members answer", WAIT_S)
    until(lambda: max(sizes()) < QUOTA_MIB * 1024**2 / 2, "every file is small", WAIT_S)


def test_members_start_again_one_at_a_time_after_the_ca_was_rotated(managers: list[Node]) -> None:
    """Each of the three does, and no two at once, so that there always is a quorum."""
    before = {node.name: etcd_pid(node) for node in managers}
    with Away(managers) as away:
        said = told(managers[0], "swarm", "ca", "--rotate", "--quiet")
        assert "BEGIN CERTIFICATE" in said, said
        again = lambda: all(etcd_pid(n) not in (None, before[n.name]) for n in managers)  # noqa: E731
        until(again, "every member has started again", WAIT_S)
        until(lambda: voters(managers[0]) == 3, "all of them answer", WAIT_S)
    assert away.most <= 1, away.been


def test_a_member_counts_how_fast_its_disk_is(managers: list[Node]) -> None:
    """As etcd says it itself, and `info` shows it."""
    until(lambda: "syncs in" in told(managers[0], "info"), "syncs are timed", WAIT_S)


def told(node: Node, *command: str) -> str:
    return swarmlite(node, *command)


def etcd_pid(node: Node) -> int | None:
    pid: int | None = node.request("status")["children"].get("etcd", {}).get("pid")
    return pid


def _removed(node: Node, config_id: str) -> bool:
    try:
        node.control().RemoveConfig(RemoveRequest(ref=config_id), timeout=30)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined,no-any-return]
    return True


def _writes(node: Node) -> bool:
    spec = ConfigSpec(data=b"small")
    spec.annotations.name = "small"
    try:
        node.control().CreateConfig(CreateConfigRequest(spec=spec), timeout=30)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.ALREADY_EXISTS  # type: ignore[attr-defined,no-any-return]
    return True
