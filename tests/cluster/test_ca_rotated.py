"""`swarm ca --rotate` on real nodes: one of them is away meanwhile, and one joins."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator

import pytest
from authorities import serving
from test_autolock import cli
from test_daemon import Node, Refused, _certificate, _etcd_answers, until

from swarmlite.identity.issuers import issuer_of, key_id
from swarmlite.manager.ca.root import MANAGER, RootCA, Subject
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.proto.objects_pb2 import Cluster
from swarmlite.proto.types_pb2 import NodeStatus
from swarmlite.testing.namespaces import Lan

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd-server is not installed"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lan, list[Node]]]:
    root, lan = tmp_path_factory.mktemp("r"), Lan("clrot")
    made: list[Node] = []
    try:
        made.extend(Node(f"ro{i}", lan, root) for i in range(3))
        yield lan, made
    finally:
        for node in made:
            node.close()
        lan.close()
        shutil.rmtree(root, ignore_errors=True)


def cluster_of(node: Node) -> Cluster:
    answer: Cluster = node.control().GetCluster(
        GetRequest(ref="default"), timeout=10, wait_for_ready=True
    )
    return answer


def issuer(node: Node) -> str:
    return issuer_of((node.paths.certificates_dir / "node.crt").read_bytes())


def roots(node: Node) -> bytes:
    return (node.paths.certificates_dir / "ca.crt").read_bytes()


def ready(manager: Node, node_id: str) -> bool:
    found = manager.nodes().get(node_id)
    return found is not None and found.status.state == NodeStatus.READY


@pytest.mark.timeout(600)
def test_a_root_is_rotated_while_a_node_is_away_and_another_one_joins(
    world: tuple[Lan, list[Node]],
) -> None:
    lan, nodes = world
    manager, away, late = nodes
    manager.request("init", listen_addr=f"{manager.addr}:2377")
    token = manager.tokens().worker
    away_id = away.request("join", token=token, remote=manager.addr)["node_id"]
    until(lambda: ready(manager, away_id), "the worker is ready", 60)
    old = cluster_of(manager).root_ca.ca_cert
    old_id = key_id(old)
    stolen = _certificate(manager, Subject("m9", MANAGER, cluster_of(manager).id))
    assert _etcd_answers(manager, stolen)
    away.signal(signal.SIGTERM)

    assert cli(manager, "swarm", "ca", "--ca-cert", "/x").stderr.strip().endswith("with --rotate")
    begun = cli(manager, "swarm", "ca", "--rotate", "--detach")
    assert begun.returncode == 0, begun
    new = cluster_of(manager).root_ca.rotation
    assert new.ca_cert and not new.ca_key and new.ca_cert != old
    until(lambda: issuer(manager) == key_id(new.ca_cert), "the manager has renewed", 90)
    again = cli(manager, "swarm", "ca", "--rotate", "--detach")
    assert again.returncode == 1 and "under way" in again.stderr, again
    # The token of before still holds, and whoever joins is certified by the new root.
    late_id = late.request("join", token=token, remote=manager.addr)["node_id"]
    until(lambda: ready(manager, late_id), "the node that joined is ready", 60)
    assert issuer(late) == key_id(new.ca_cert)
    until(lambda: roots(late) == old + new.ca_cert, "it trusts both roots", 60)
    assert cluster_of(manager).root_ca.HasField("rotation"), "one node is away"
    assert (issuer(away), roots(away)) == (old_id, old)

    away.start()
    until(lambda: issuer(away) == key_id(new.ca_cert), "the node that was away has renewed", 120)
    until(lambda: cluster_of(manager).root_ca.ca_cert == new.ca_cert, "the rotation is over", 60)
    assert not cluster_of(manager).root_ca.HasField("rotation")
    for node in nodes:
        until(lambda node=node: roots(node) == new.ca_cert, "only the new root is trusted", 60)  # type: ignore[misc]
    until(lambda: not _etcd_answers(manager, stolen), "etcd refuses the old root", 120)
    assert _etcd_answers(manager, manager.paths.certificates_dir)
    for node_id in (away_id, late_id):
        until(lambda node_id=node_id: ready(manager, node_id), "it is ready", 60)  # type: ignore[misc]
    late.request("leave")
    with pytest.raises(Refused, match="does not match fingerprint"):
        late.request("join", token=token, remote=manager.addr)
    late.request("join", token=manager.tokens().worker, remote=manager.addr)

    # A node that left holds nothing up. Now to a root whose key an external CA has.
    own = RootCA.create()
    certificate = manager.paths.state_dir / "own.crt"
    certificate.write_bytes(own.cert)
    rotate = ("swarm", "ca", "--rotate", "--ca-cert", str(certificate))
    assert "--ca-cert needs --ca-key" in cli(manager, *rotate).stderr
    with serving(own, lan.gateway) as authority:
        url = authority.url
        authority.mood = "refuses"
        refused = cli(manager, *rotate, "--external-ca", f"protocol=cfssl,url={url}")
        assert refused.returncode == 1 and "policy says no" in refused.stderr, refused
        authority.mood = ""
        done = cli(manager, *rotate, "--external-ca", f"protocol=cfssl,url={url}")
        assert done.returncode == 0 and done.stdout == own.cert.decode(), done
        assert cluster_of(manager).root_ca.ca_cert == own.cert
        assert issuer(manager) == issuer(away) == issuer(late) == key_id(own.cert)
        assert cluster_of(manager).spec.ca.external_cas[0].url == url
