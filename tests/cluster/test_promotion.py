"""Nodes that run are promoted and demoted: etcd grows and shrinks with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest
from test_daemon import Node, Refused, _etcdctl, until
from test_failover import create_secret, leader

from swarmlite.proto.control_pb2 import GetRequest, ListRequest, RemoveNodeRequest
from swarmlite.proto.control_pb2 import UpdateNodeRequest as Update
from swarmlite.proto.types_pb2 import MANAGER, WORKER, ManagerStatus, NodeStatus
from swarmlite.testing.namespaces import Lan

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd-server is not installed"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """One manager and two workers."""
    root = tmp_path_factory.mktemp("p")
    lan = Lan(f"clroles{os.getpid()}")
    made: list[Node] = []
    try:
        made.extend(Node(f"p{i}", lan, root) for i in range(3))
        asked = {"listen_addr": f"{made[0].addr}:2377", "dispatcher_heartbeat_s": 1}
        first = made[0].request("init", **asked)
        for node in made[1:]:
            node.request("join", token=first["worker_token"], remote=first["manager_addr"])
        yield made
    finally:
        for node in made:
            node.close()
        lan.close()
        shutil.rmtree(root, ignore_errors=True)


def ask_for(node: Node, role: int, through: Node) -> None:
    """Have the node's role desired, through a manager. Another's write in between is no matter, and
    a node whose processes begin again, for its role has just changed, is waited for.
    """

    def asked() -> bool:
        found = through.control().GetNode(GetRequest(ref=node.name), timeout=20)
        request = Update(node_id=found.id, version=found.meta.version, spec=found.spec)
        request.spec.desired_role = role  # type: ignore[assignment]
        try:
            through.control().UpdateNode(request, timeout=20)
        except grpc.RpcError as error:
            passing = error.code() is grpc.StatusCode.ABORTED  # type: ignore[attr-defined]
            if not passing and "is not ready" not in error.details():  # type: ignore[attr-defined]
                raise
            return False
        return True

    until(asked, "the role is desired", 150)


def cli(node: Node, *command: str) -> str:
    env = os.environ | {
        "SWARMLITE_STATE_DIR": str(node.paths.state_dir),
        "SWARMLITE_RUN_DIR": str(node.paths.run_dir),
    }
    done = subprocess.run(
        node.machine.enter(list(command)), capture_output=True, text=True, timeout=60, env=env
    )
    return done.stdout + done.stderr


def swarmlite(node: Node, *arguments: str) -> str:
    return cli(node, sys.executable, "-m", "swarmlite.cli", *arguments)


def all_ready(seen_by: Node) -> bool:
    nodes = seen_by.nodes().values()
    return len(nodes) == 3 and all(n.status.state == NodeStatus.READY for n in nodes)


def voters(node: Node) -> int:
    try:
        return _etcdctl(node, node.paths.certificates_dir, "member", "list").count(b"false")
    except PermissionError:
        return -1


def is_manager(node: Node, seen_by: Node) -> bool:
    return any(
        n.description.hostname == node.name
        and n.role == MANAGER
        and n.manager_status.reachability == ManagerStatus.REACHABLE
        for n in seen_by.nodes().values()
    )


def test_nodes_that_run_are_promoted_and_demoted_the_leader_too(nodes: list[Node]) -> None:
    first, second, third = nodes
    until(lambda: all_ready(first), "ready", 150)
    create_secret(first, "before")
    root = (first.paths.certificates_dir / "ca.crt").read_text()
    assert swarmlite(first, "swarm", "ca") == root
    checked = swarmlite(first, "doctor")
    for other in (second, third):
        assert f"ok       pair              {other.name}: packets of 1500 bytes arrive" in checked
    # What hinders is told, and tried again.
    listener = f"import socket, sys; s = socket.create_server(('{second.addr}', 2382))"
    taken = subprocess.Popen(
        second.machine.enter([sys.executable, "-c", f"{listener}; sys.stdin.read()"]),
        stdin=subprocess.PIPE,
    )
    try:
        port = f"{second.addr}:2382"
        until(lambda: port in cli(second, "ss", "-ltn"), "the port is taken", 150)
        until(lambda: all_ready(first), "ready", 150)
        told = swarmlite(first, "node", "promote", second.name)
        assert "promoted to a manager" in told
        assert "2 managers, and stops being managed" in told
        says = f"cannot become a manager: cannot listen on {port}"
        until(lambda: says in swarmlite(first, "node", "ls"), "it says why not", 150)
        assert second.request("status")["role"] == "worker"
    finally:
        taken.communicate(timeout=30)

    for node in (second, third):
        until(lambda: all_ready(first), "ready", 150)
        ask_for(node, MANAGER, first)
        until(lambda node=node: node.request("status")["role"] == "manager", "promoted", 150)  # type: ignore[misc]
        until(lambda node=node: is_manager(node, first), "it is there", 150)  # type: ignore[misc]
    until(lambda: voters(first) == 3, "three vote", 150)
    for node in nodes:
        until(lambda node=node: len(node.nodes()) == 3, "each has the store", 150)  # type: ignore[misc]
        assert len(node.control().ListSecrets(ListRequest(), timeout=60).secrets) == 1
    # A name that another manager gave away is taken, whoever is asked.
    with pytest.raises(grpc.RpcError, match=r"already exists"):
        create_secret(third, "Before".lower())

    with pytest.raises(grpc.RpcError, match="demote it before"):
        first.control().RemoveNode(RemoveNodeRequest(ref=third.name, force=True), timeout=60)

    # The leader itself: another leads first, and takes it out.
    until(lambda: leader(second), "there is a leader", 150)
    going = next(node for node in nodes if node.name == leader(second))
    left = [node for node in nodes if node is not going]
    ask_for(going, WORKER, going)
    until(lambda: going.request("status")["role"] == "worker", "the leader is a worker", 150)
    until(lambda: voters(left[0]) == 2, "two vote", 150)
    until(lambda: not going.paths.etcd_dir.exists(), "it keeps no member", 150)
    assert not going.paths.store_keys_file.exists()
    create_secret(left[1], "between")
    seen = {n.description.hostname: n for n in left[0].nodes().values()}
    assert seen[going.name].role == WORKER
    assert not seen[going.name].HasField("manager_status")
    until(lambda: leader(left[0]) in [n.name for n in left], "one of the others leads", 150)
    with pytest.raises(Refused, match="leaves 1 managers"):
        left[0].request("leave")

    # Down to one, which cannot go.
    ask_for(left[0], WORKER, left[1])
    until(lambda: left[0].request("status")["role"] == "worker", "a worker", 150)
    until(lambda: voters(left[1]) == 1, "one votes", 150)
    with pytest.raises(grpc.RpcError, match="last manager"):
        ask_for(left[1], WORKER, left[1])
    create_secret(left[1], "after")

    # And back again: its certificate, keys and data are new ones.
    until(lambda: all_ready(left[1]), "ready", 150)
    ask_for(going, MANAGER, left[1])
    until(lambda: going.request("status")["role"] == "manager", "a manager again", 150)
    until(lambda: len(going.nodes()) == 3, "it has the store", 150)
    secrets = going.control().ListSecrets(ListRequest(), timeout=60).secrets
    assert {s.spec.annotations.name for s in secrets} == {"before", "between", "after"}
