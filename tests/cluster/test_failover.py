"""Three managers: the leader's machine loses its power, and the cluster is written again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import grpc
import pytest
from test_daemon import Node, until

from swarmlite.proto.control_pb2 import CreateSecretRequest, ListRequest, RemoveNodeRequest
from swarmlite.proto.types_pb2 import ManagerStatus, NodeStatus
from swarmlite.testing.namespaces import Lan

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd-server is not installed"),
]


@pytest.fixture
def managers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    root = tmp_path_factory.mktemp("f")
    lan = Lan(f"clfail{os.getpid()}")
    nodes: list[Node] = []
    try:
        nodes.extend(Node(f"f{i}", lan, root) for i in range(3))
        made = nodes[0].request("init", listen_addr=f"{nodes[0].addr}:2377")
        token = nodes[0].tokens().manager
        for node in nodes[1:]:
            node.request("join", token=token, remote=made["manager_addr"])
        yield nodes
    finally:
        for node in nodes:
            node.close()
        lan.close()
        shutil.rmtree(root, ignore_errors=True)


def leader(seen_by: Node) -> str:
    names = [n.description.hostname for n in seen_by.nodes().values() if n.manager_status.leader]
    return names[0] if len(names) == 1 else ""


def create_secret(node: Node, name: str) -> None:
    request = CreateSecretRequest()
    request.spec.annotations.name = name
    request.spec.data = b"x"
    node.control().CreateSecret(request, timeout=30)


def test_another_manager_leads_and_acknowledged_writes_survive(managers: list[Node]) -> None:
    until(lambda: leader(managers[1]), "there is a leader")
    dead = next(n for n in managers if n.name == leader(managers[1]))
    left = [n for n in managers if n is not dead]
    create_secret(left[0], "before")
    dead.machine.kill()
    create_secret(left[0], "after")
    until(lambda: leader(left[0]) not in ("", dead.name), "another leads", 15)
    until(lambda: leader(left[1]) == leader(left[0]), "both agree")

    def unreachable() -> set[str]:
        nodes = left[0].nodes().values()
        return {
            n.description.hostname
            for n in nodes
            if n.manager_status.reachability == ManagerStatus.UNREACHABLE
        }

    until(lambda: unreachable() == {dead.name}, "the dead one is unreachable", 20)

    def down() -> set[str]:
        nodes = left[0].nodes().values()
        return {n.description.hostname for n in nodes if n.status.state == NodeStatus.DOWN}

    until(lambda: down() == {dead.name}, "its node is down", 25)
    with pytest.raises(grpc.RpcError, match=r"ALREADY_EXISTS|already exists"):
        create_secret(left[1], "before")

    # The dead one is taken out, with its member: two managers are left, and both are needed.
    dead_id = next(i for i, n in left[0].nodes().items() if n.description.hostname == dead.name)
    left[0].control().RemoveNode(RemoveNodeRequest(ref=dead_id, force=True), timeout=20)
    until(lambda: dead_id not in left[1].nodes(), "the dead one is gone", 10)
    create_secret(left[1], "between")

    # One of the two dead: a clear error, before the caller's own time is up; nobody leads then.
    left[0].machine.kill()
    with pytest.raises(grpc.RpcError) as error:
        create_secret(left[1], "no-quorum")
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE, error.value
    until(
        lambda: left[1].control().ListNodes(ListRequest(), timeout=5).stale, "the list is old", 20
    )
    assert leader(left[1]) == ""
