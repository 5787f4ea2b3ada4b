"""A manager goes on without the others, at another address: its old one is gone as well."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from test_daemon import Node, Refused, until
from test_failover import create_secret

from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.testing.namespaces import Lan

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd-server is not installed"),
]


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    root, lan = tmp_path_factory.mktemp("m"), Lan(f"clmoved{os.getpid()}")
    made: list[Node] = []
    try:
        made.extend(Node(f"q{i}", lan, root) for i in range(4))
        first = made[0].request("init", listen_addr=f"{made[0].addr}:2377")
        token = made[0].tokens().manager
        made[1].request("join", token=token, remote=first["manager_addr"])
        until(lambda: len(made[1].nodes()) == 2, "the second manager has the store", 150)
        yield made
    finally:
        for node in made:
            node.close()
        lan.close()
        shutil.rmtree(root, ignore_errors=True)


def test_a_survivor_moves_to_another_address_and_others_join_there(nodes: list[Node]) -> None:
    gone, survivor, *fresh = nodes
    create_secret(survivor, "kept")
    gone.close()
    address = survivor.addr.rpartition(".")[0] + ".77"
    ip = ["ip", "addr", "add", f"{address}/24", "dev", "eth0"]
    subprocess.run(survivor.machine.enter(ip), check=True)
    asked = {"force_new_cluster": True, "advertise_addr": address}
    with pytest.raises(Refused, match="neither an IP address nor an interface"):
        survivor.request("init", **{**asked, "advertise_addr": "nonsense0"})
    answer = survivor.request("init", **asked)
    assert answer["manager_addr"] == f"{address}:2377" and answer["moved"]
    until(lambda: survivor.nodes().get(answer["node_id"]), "it answers", 150)
    assert survivor.request("status")["addr"] == f"{address}:2377"
    own = survivor.nodes()[answer["node_id"]]
    assert own.manager_status.addr == f"{address}:2377"
    assert own.description.data_path_addr == address
    names = survivor.control().ListSecrets(ListRequest(), timeout=60).secrets
    assert [secret.spec.annotations.name for secret in names] == ["kept"]

    # The old address is taken away, and new nodes, a manager too, know the other one only.
    ip[2] = "del"
    ip[3] = f"{survivor.addr}/24"
    subprocess.run(survivor.machine.enter(ip), check=True)
    subprocess.run(
        survivor.machine.enter(["ip", "addr", "replace", f"{address}/24", "dev", "eth0"]),
        check=True,
    )
    tokens = survivor.tokens()
    for node, token in zip(fresh, (tokens.worker, tokens.manager), strict=True):
        joined = node.request("join", token=token, remote=f"{address}:2377")
        until(lambda joined=joined: joined["node_id"] in survivor.nodes(), "it joined", 150)  # type: ignore[misc]
    until(lambda: len(fresh[1].nodes()) == 4, "the new manager has the store", 150)
    create_secret(fresh[1], "more")
