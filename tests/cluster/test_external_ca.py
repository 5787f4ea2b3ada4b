"""A cluster that an external CA certifies from its first node on, its backup, and removed nodes."""

from __future__ import annotations

import base64
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from authorities import Authority, serving
from test_ca_rotated import cluster_of, issuer, ready
from test_daemon import Node, Refused, state_of, until
from test_failover import create_secret

from swarmlite.identity.issuers import key_id
from swarmlite.manager.ca.root import RootCA
from swarmlite.proto.control_pb2 import ListRequest, RemoveNodeRequest
from swarmlite.proto.specs_pb2 import ExternalCA
from swarmlite.testing.namespaces import Lan

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd-server is not installed"),
    pytest.mark.timeout(600),
]
WAIT_S = 150


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    lan = Lan(f"clxca{os.getpid()}")
    yield lan
    lan.close()


@pytest.fixture(scope="module")
def authority(lan: Lan) -> Iterator[Authority]:
    with serving(RootCA.create(), lan.gateway) as made:
        yield made


@pytest.fixture(scope="module")
def nodes(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    root = tmp_path_factory.mktemp("h")
    made: list[Node] = []
    try:
        made.extend(Node(f"h{i}", lan, root) for i in range(2))
        yield made
    finally:
        for node in made:
            node.close()
        shutil.rmtree(root, ignore_errors=True)


def by(authority: Authority, protocol: str = "cfssl") -> list[str]:
    message = ExternalCA(protocol=protocol, url=authority.url).SerializeToString()
    return [base64.b64encode(message).decode()]


def test_every_certificate_is_the_external_authoritys(
    authority: Authority, nodes: list[Node], tmp_path: Path
) -> None:
    """Init, a join, a backup's restore; a removed node stays out until it joins anew."""
    manager, worker = nodes
    asked = {"listen_addr": f"{manager.addr}:2377", "dispatcher_heartbeat_s": 1}
    cert = authority.root.cert.decode()
    for fields, expected in (
        ({"external_ca": by(authority)}, "--external-ca needs --ca-cert"),
        ({"ca_cert": cert}, "--ca-cert needs --ca-key"),
        ({"ca_cert": cert, "external_ca": by(authority, "est")}, "unknown protocol 'est'"),
        ({"ca_cert": "x", "external_ca": by(authority)}, "--ca-cert: not a certificate"),
        ({"ca_key": "x"}, "--ca-key is only valid with --ca-cert"),
    ):
        with pytest.raises(Refused, match=expected):
            manager.request("init", **asked, **fields)
    authority.mood = "refuses"
    with pytest.raises(Refused, match="policy says no"):
        manager.request("init", **asked, ca_cert=cert, external_ca=by(authority))
    authority.mood = ""
    assert state_of(manager.paths) == set()
    made = manager.request("init", **asked, ca_cert=cert, external_ca=by(authority))
    token = made["worker_token"]
    worker_id = worker.request("join", token=token, remote=manager.addr)["node_id"]
    until(lambda: ready(manager, worker_id), "the worker is ready", WAIT_S)
    own = key_id(authority.root.cert)
    assert issuer(manager) == issuer(worker) == own
    assert cluster_of(manager).spec.ca.external_cas[0].url == authority.url
    create_secret(manager, "kept")
    saved = tmp_path / "saved"
    manager.request("backup", path=str(saved), passphrase="p")

    # A node that was removed while it was away is refused, and is a new one when it joins again.
    worker.signal(signal.SIGKILL)
    until(lambda: not ready(manager, worker_id), "it is down", WAIT_S)
    manager.control().RemoveNode(RemoveNodeRequest(ref=worker_id, force=True), timeout=20)
    worker.start()
    log = worker.paths.logs_dir / "agent.log"
    until(lambda: "was removed" in log.read_text() or "not in" in log.read_text(), "told", WAIT_S)
    assert worker_id not in manager.nodes()
    with pytest.raises(Refused, match="already part of a swarm"):
        worker.request("join", token=token, remote=manager.addr)
    worker.request("leave", force=True)
    again = worker.request("join", token=token, remote=manager.addr)["node_id"]
    assert again != worker_id
    until(lambda: ready(manager, again), "it is back as another node", WAIT_S)

    # Its backup is of use where the authority signs, and says so where it does not.
    worker.request("leave")
    manager.request("leave", force=True)
    back = {"path": str(saved), "passphrase": "p", "listen_addr": f"{manager.addr}:2377"}
    authority.mood = "refuses"
    with pytest.raises(Refused, match="policy says no"):
        manager.request("restore", **back)
    authority.mood = ""
    assert state_of(manager.paths) == set()
    manager.request("restore", **back)
    until(lambda: _secrets(manager) == ["kept"], "the backup is there", WAIT_S)
    assert issuer(manager) == own


def _secrets(node: Node) -> list[str]:
    try:
        found = node.control().ListSecrets(ListRequest(), timeout=20, wait_for_ready=True).secrets
    except grpc.RpcError:
        return []
    return sorted(secret.spec.annotations.name for secret in found)
