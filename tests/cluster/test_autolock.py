"""Autolock on real managers: what lies on their disks is of no use without the unlock key."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_daemon import Node, Refused, until
from test_sealing import found_below, names

from swarmlite.identity.lock import KeyLock, new_key
from swarmlite.node.unlocking import Unlocking
from swarmlite.paths import Paths
from swarmlite.proto.control_pb2 import (
    CreateSecretRequest,
    GetRequest,
    GetUnlockKeyRequest,
    UpdateClusterRequest,
)
from swarmlite.testing.namespaces import Lan

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd-server is not installed"),
]


@pytest.fixture(scope="module")
def managers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    root, lan = tmp_path_factory.mktemp("a"), Lan("cllock")
    nodes: list[Node] = []
    try:
        nodes.extend(Node(f"al{i}", lan, root) for i in range(2))
        yield nodes
    finally:
        for node in nodes:
            node.close()
        lan.close()
        shutil.rmtree(root, ignore_errors=True)


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


def docker(node: Node, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = _Unix(node.paths.docker_socket)
    try:
        content = json.dumps(body) if body is not None else None
        headers = {"Content-Type": "application/json"} if content else {}
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


def cli(node: Node, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        node.machine.enter(
            [sys.executable, "-m", "swarmlite.cli", f"--state-dir={node.paths.state_dir}",
             f"--run-dir={node.paths.run_dir}", *arguments]
        ),
        input=given, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def unlock_key(node: Node) -> str:
    answer = node.control().GetUnlockKey(GetUnlockKeyRequest(), timeout=10, wait_for_ready=True)
    return str(answer.unlock_key)


def restart(node: Node, number: signal.Signals) -> None:
    node.signal(number)
    node.start()


def sealed_by(node: Node, key: str) -> bool:
    """Whether this key, and none other, opens what is on the node's disk."""
    from swarmlite.errors import PermissionDenied
    from swarmlite.identity.lock import _opened, secret_of

    try:
        return set(_opened(node.paths.locked_keys_file, secret_of(key))) == {
            "node.key", "store.keys",
        }  # fmt: skip
    except (PermissionDenied, FileNotFoundError):
        return False


def inside(node: Node, path: Path) -> bytes:
    """A file as the node's own processes see it: the keys' tmpfs is in its mount namespace."""
    return subprocess.run(
        node.machine.enter(["cat", str(path)]), capture_output=True, check=True, timeout=60
    ).stdout


def nothing_in_clear(node: Node, secrets: list[bytes]) -> None:
    for secret in secrets:
        state = [p for p in found_below(node.paths.state_dir, secret) if not p.is_symlink()]
        assert state == [], secret


@pytest.mark.timeout(600)
def test_a_restarted_manager_runs_once_it_is_given_the_key(managers: list[Node]) -> None:
    first, second = managers
    made = first.request("init", listen_addr=f"{first.addr}:2377", autolock=True)
    key = made["unlock_key"]
    assert sealed_by(first, key) and unlock_key(first) == key
    shown = cli(first, "swarm", "unlock-key")
    assert shown.returncode == 0 and f"    {key}\n" in shown.stdout, shown
    assert docker(first, "GET", "/swarm/unlockkey") == (200, {"UnlockKey": key})
    second.request("join", token=first.tokens().manager, remote=made["manager_addr"])
    until(lambda: sealed_by(second, key), "the second manager's keys are sealed", 60)
    request = CreateSecretRequest()
    request.spec.annotations.name = "password"
    request.spec.data = b"correct horse battery staple"
    first.control().CreateSecret(request, timeout=30)
    until(lambda: names(second) == ["password"], "the second manager has the store", 60)
    clear = [
        request.spec.data,
        *(inside(node, node.paths.certificates_dir / "node.key")[30:90] for node in managers),
        inside(first, first.paths.store_keys_file)[30:90],
        key.encode(),
    ]
    for node in managers:
        nothing_in_clear(node, clear)

    # A daemon that was killed comes back locked, its engine goes on, and nothing else does.
    restart(second, signal.SIGKILL)
    status = second.request("status")
    assert (status["swarm"], status["role"]) == ("locked", "manager")
    assert "manager" not in status["children"] and "etcd" not in status["children"]
    until(lambda: second.request("status")["children"]["agent"]["pid"], "the agent runs")
    refused = cli(second, "node", "ls")
    assert refused.returncode == 1 and "needs to be unlocked" in refused.stderr, refused
    assert "Swarm: locked" in cli(second, "info").stdout
    code, said = docker(second, "GET", "/nodes")
    assert code == 503 and "docker swarm unlock" in said["message"]
    assert docker(second, "GET", "/info")[1]["Swarm"]["LocalNodeState"] == "locked"
    with pytest.raises(Refused, match="needs to be unlocked"):
        second.request("init", force_new_cluster=True)
    for wrong, match in ((new_key(), "invalid key provided"), ("rubbish", "invalid unlock key")):
        with pytest.raises(Refused, match=match):
            second.request("unlock", key=wrong)
        assert docker(second, "POST", "/swarm/unlock", {"UnlockKey": wrong})[0] == 400
    assert "invalid key provided" in cli(second, "swarm", "unlock", given=new_key()).stderr
    assert second.request("status")["swarm"] == "locked"
    unlocked = cli(second, "swarm", "unlock", given=f"{key}\n")
    assert unlocked.returncode == 0, unlocked
    until(lambda: names(second) == ["password"], "the second manager is back", 60)
    assert "swarm is not locked" in cli(second, "swarm", "unlock", given=key).stderr
    assert docker(second, "POST", "/swarm/unlock", {"UnlockKey": key})[0] == 409
    nothing_in_clear(second, clear)

    # Another key, for every manager; the old one opens nothing any more.
    rotated = cli(second, "swarm", "unlock-key", "--rotate", "-q")
    new = rotated.stdout.strip()
    assert rotated.returncode == 0 and new not in ("", key), rotated
    assert sealed_by(second, new), "whoever rotated has it on the disk"
    until(lambda: sealed_by(first, new), "the first manager follows", 60)
    restart(first, signal.SIGTERM)
    with pytest.raises(Refused, match="invalid key provided"):
        first.request("unlock", key=key)
    assert docker(first, "POST", "/swarm/unlock", {"UnlockKey": new})[0] == 200
    until(lambda: names(first) == ["password"], "the first manager is back", 60)

    # And without it again: nobody asks for a key.
    cluster = first.control().GetCluster(GetRequest(ref="default"), timeout=10)
    cluster.spec.encryption.auto_lock_managers = False
    update = UpdateClusterRequest(version=cluster.meta.version, spec=cluster.spec)
    first.control().UpdateCluster(update, timeout=30)
    until(lambda: not KeyLock(second.paths).engaged, "the second manager opens its keys", 60)
    assert "no unlock key is set" in cli(first, "swarm", "unlock-key").stderr
    assert "autolock is not turned on" in cli(first, "swarm", "unlock-key", "--rotate").stderr
    restart(first, signal.SIGTERM)
    until(lambda: names(first) == ["password"], "the first manager needs no key", 60)
    again = cli(first, "swarm", "update", "--autolock")
    assert again.returncode == 0 and "SWMKEY-1-" in again.stdout, again
    until(lambda: sealed_by(second, unlock_key(first)), "both are sealed again", 60)

    # Who leaves takes nothing along, locked or not.
    restart(second, signal.SIGTERM)
    assert second.request("status")["swarm"] == "locked"
    second.request("leave", force=True)
    assert second.request("status")["swarm"] == "inactive"
    assert not second.paths.unlocked_dir.exists() and not second.paths.manager_dir.exists()


async def test_a_wrong_key_is_answered_ever_later_and_the_right_one_at_once(
    tmp_path: Path,
) -> None:
    paths = Paths(tmp_path / "s", tmp_path / "r")
    for folder in (paths.certificates_dir, paths.manager_dir, paths.logs_dir, paths.run_dir):
        folder.mkdir(parents=True)
    (paths.certificates_dir / "node.key").write_bytes(b"key")
    lock, key = KeyLock(paths), new_key()
    lock.follow(key)
    lock.forget()
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    unlocking = Unlocking(paths, sleep)
    try:
        for _ in range(4):
            with pytest.raises(Exception, match="invalid key provided"):
                await unlocking.unlock(new_key())
        assert waited == [1.0, 2.0, 4.0, 8.0]
        await unlocking.unlock(key)
        assert waited == [1.0, 2.0, 4.0, 8.0] and not lock.locked
    finally:
        lock.forget()
