"""A cluster whose store is an etcd that was there before: over TLS, below a prefix, with others'
keys beside it.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from test_daemon import Node, Refused, state_of, until
from test_failover import create_secret
from test_promotion import ask_for, swarmlite

from swarmlite.manager.ca.root import RootCA
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.types_pb2 import MANAGER, WORKER, NodeStatus
from swarmlite.testing import reserved
from swarmlite.testing.namespaces import Lan

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd-server is not installed"),
    pytest.mark.timeout(600),
]
WAIT_S = 150


def issued(root: RootCA, name: str, *addresses: str) -> tuple[bytes, bytes]:
    """A certificate of `root` as etcd's owner would make it, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca = x509.load_pem_x509_certificate(root.cert)
    ca_key = serialization.load_pem_private_key(root.key, None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    names = [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
    cert = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), *names]), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), False)
        .sign(ca_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return cert.public_bytes(serialization.Encoding.PEM), private


@dataclass
class Existing:
    """Somebody's etcd, at two addresses of one host."""

    root: RootCA
    folder: Path
    urls: list[str]
    cert: bytes
    key: bytes

    def flags(self, **others: Any) -> dict[str, Any]:
        return {
            "etcd_endpoints": self.urls,
            "etcd_prefix": "/prod",
            "etcd_ca_cert": self.root.cert.decode(),
            "etcd_cert": self.cert.decode(),
            "etcd_key": self.key.decode(),
            **others,
        }

    def ctl(self, *arguments: str) -> str:
        folder = self.folder
        command = ["etcdctl", f"--endpoints={self.urls[0]}", f"--cacert={folder}/ca.crt",
                   f"--cert={folder}/root.crt", f"--key={folder}/root.key"]  # fmt: skip
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=60, check=True,
            env=os.environ | {"ETCDCTL_API": "3"},
        )  # fmt: skip
        return done.stdout

    def listed(self) -> list[str]:
        return self.ctl("get", "", "--prefix", "--keys-only").split()


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    lan = Lan(f"clext{os.getpid()}")
    yield lan
    lan.close()


@pytest.fixture(scope="module")
def existing(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Existing]:
    folder, root = tmp_path_factory.mktemp("x"), RootCA.create()
    ports = [reserved.port() for _ in range(3)]
    urls = [f"https://{lan.gateway}:{port}" for port in ports[:2]]
    cert, key = issued(root, "swarmlite")
    made = Existing(root, folder, urls, cert, key)
    (folder / "ca.crt").write_bytes(root.cert)
    for name, addresses in (("server", [lan.gateway]), ("root", [])):
        pair = issued(root, name, *addresses)
        for suffix, content in zip(("crt", "key"), pair, strict=True):
            (folder / f"{name}.{suffix}").write_bytes(content)
    command = [
        "etcd", "--name", "one", "--data-dir", str(folder / "data"), "--logger", "zap",
        "--listen-client-urls", ",".join(urls), "--advertise-client-urls", urls[0],
        "--listen-peer-urls", f"http://127.0.0.1:{ports[2]}",
        "--initial-advertise-peer-urls", f"http://127.0.0.1:{ports[2]}",
        "--initial-cluster", f"one=http://127.0.0.1:{ports[2]}",
        "--client-cert-auth", "--trusted-ca-file", str(folder / "ca.crt"),
        "--cert-file", str(folder / "server.crt"), "--key-file", str(folder / "server.key"),
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: _answers(made, process), "etcd answers", WAIT_S)
        made.ctl("put", "/theirs", "as it was")
        yield made
        assert made.ctl("get", "/theirs") == "/theirs\nas it was\n"
    finally:
        process.kill()
        process.wait()
        for port in ports:
            reserved.release(port)


def _answers(existing: Existing, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, (existing.folder / "log").read_text()
    try:
        existing.ctl("get", "/")
    except subprocess.CalledProcessError:
        return False
    return True


@pytest.fixture(scope="module")
def nodes(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Three machines in no swarm."""
    root = tmp_path_factory.mktemp("e")
    made: list[Node] = []
    try:
        made.extend(Node(f"e{i}", lan, root) for i in range(3))
        yield made
    finally:
        for node in made:
            node.close()
        shutil.rmtree(root, ignore_errors=True)


def test_an_etcd_that_does_not_do_is_refused_and_nothing_is_left(
    existing: Existing, nodes: list[Node]
) -> None:
    """Each with what would be right."""
    node, before = nodes[0], existing.listed()
    other, stranger = RootCA.create(), issued(RootCA.create(), "stranger")
    plain = existing.urls[0].replace("https", "http")
    unknown = existing.urls[0].rpartition(":")[0] + ":1"
    existing.ctl("put", "/full/swarmlite/v1/node/x", "another's")
    for fields, expected in (
        ({"etcd_endpoints": [plain]}, "without TLS anybody"),
        ({"etcd_endpoints": ["nonsense"]}, "'nonsense' is not a URL: expected https://HOST"),
        ({"etcd_endpoints": [unknown]}, "cannot be reached: Connection refused"),
        ({"etcd_endpoints": []}, "--etcd-prefix is only valid with --etcd-endpoints"),
        ({"etcd_prefix": "/a b"}, "--etcd-prefix: '/a b' is not a prefix"),
        ({"etcd_ca_cert": ""}, "https needs --etcd-ca-cert"),
        ({"etcd_ca_cert": "x"}, "--etcd-ca-cert: not a certificate"),
        ({"etcd_ca_cert": other.cert.decode()}, "shows a certificate that --etcd-ca-cert did not"),
        ({"etcd_cert": "", "etcd_key": ""}, "asks for a client certificate that it trusts"),
        (
            {"etcd_cert": stranger[0].decode(), "etcd_key": stranger[1].decode()},
            "asks for a client certificate that it trusts",
        ),
        ({"etcd_key": ""}, "--etcd-cert and --etcd-key go together"),
        ({"etcd_key": stranger[1].decode()}, "not a certificate and its key"),
        ({"etcd_prefix": "/full"}, "holds another cluster's keys below /full/swarmlite/v1/"),
    ):
        with pytest.raises(Refused, match=expected):
            node.request("init", listen_addr=f"{node.addr}:2377", **existing.flags(**fields))
        assert state_of(node.paths) == set(), fields
    existing.ctl("del", "--prefix", "/full")
    assert existing.listed() == before


def test_managers_share_it_come_and_go(
    existing: Existing, nodes: list[Node], tmp_path: Path
) -> None:
    """From the first manager's init to the last one's leave, a restore after that, and users."""
    first, second, third = nodes
    asked = {"listen_addr": f"{first.addr}:2377", "dispatcher_heartbeat_s": 1}
    made = first.request("init", **asked, **existing.flags())
    until(lambda: made["node_id"] in first.nodes(), "the manager answers", WAIT_S)
    create_secret(first, "one")
    assert "etcd" not in first.request("status")["children"]
    ours = [key for key in existing.listed() if key != "/theirs"]
    assert ours and all(key.startswith("/prod/swarmlite/v1/") for key in ours), ours
    with pytest.raises(Refused, match="holds another cluster's keys below /prod/"):
        second.request("init", listen_addr=f"{second.addr}:2377", **existing.flags())

    # Others get all that is needed with the join, and with a promotion.
    joined = second.request("join", token=first.tokens().manager, remote=made["manager_addr"])
    assert joined["role"] == "manager"
    until(lambda: _secrets(second) == ["one"], "the second has the store", WAIT_S)
    worker = third.request("join", token=made["worker_token"], remote=made["manager_addr"])
    until(lambda: _ready(second, worker["node_id"]), "the worker is ready", WAIT_S)
    ask_for(third, MANAGER, first)
    until(lambda: _secrets(third) == ["one"], "the promoted one has the store", WAIT_S)
    assert (third.paths.external_etcd_dir / "node.key").stat().st_mode & 0o777 == 0o600
    ask_for(third, WORKER, first)
    until(lambda: third.request("status")["role"] == "worker", "a worker again", WAIT_S)
    until(lambda: not third.paths.external_etcd_dir.exists(), "its keys are gone", WAIT_S)
    assert all("etcd" not in node.request("status")["children"] for node in nodes)

    # Only etcd has a quorum: either manager writes without the other.
    first.signal(signal.SIGKILL)
    until(lambda: _wrote(second, "two"), "the other manager writes", WAIT_S)
    until(lambda: _leads(second, joined["node_id"]), "and leads", WAIT_S)
    first.start()
    until(lambda: _secrets(first) == ["one", "two"], "the first is back", WAIT_S)
    with pytest.raises(Refused, match="recover that one"):
        first.request("init", force_new_cluster=True)
    said = swarmlite(first, "doctor")
    assert said.count("takes this manager") == 2, said
    until(lambda: "Store: external etcd, keys below /prod" in swarmlite(first, "info"), "told", 60)
    key = f"/prod/swarmlite/v1/checks/{joined['node_id']}"
    until(lambda: key in existing.listed(), "the mirrors check themselves", WAIT_S)
    saved = tmp_path / "saved"
    first.request("backup", path=str(saved))

    # They leave, and the last one takes the cluster's keys with it.
    third.request("leave")
    second.request("leave", force=True)
    with pytest.raises(Refused, match="last manager erases"):
        first.request("leave")
    first.request("leave", force=True)
    left = [key for key in existing.listed() if "/checks/" not in key and "/managers/" not in key]
    assert [key for key in left if "/election/" not in key] == ["/theirs"]

    # The backup below another prefix, as a user who may write there only.
    with pytest.raises(Refused, match="holds another cluster's keys"):
        existing.ctl("put", "/back/swarmlite/v1/task/x", "another's")
        first.request("restore", path=str(saved), **_at(first), **existing.flags(**BACK))
    existing.ctl("del", "--prefix", "/back")
    _limit(existing)
    wrong = issued(existing.root, "unknown")
    flags = existing.flags(**BACK, etcd_cert=wrong[0].decode(), etcd_key=wrong[1].decode())
    with pytest.raises(Refused, match=r"asks for a user|does not let this certificate's user"):
        first.request("restore", path=str(saved), **_at(first), **flags)
    with pytest.raises(Refused, match="grant-permission ROLE readwrite --prefix=true /prod/"):
        first.request("restore", path=str(saved), **_at(first), **existing.flags())
    assert state_of(first.paths) == set()
    first.request("restore", path=str(saved), **_at(first), **existing.flags(**BACK))
    until(lambda: _secrets(first) == ["one", "two"], "the backup is there", WAIT_S)
    create_secret(first, "three")


BACK = {"etcd_prefix": "/back"}


def _at(node: Node) -> dict[str, str]:
    return {"listen_addr": f"{node.addr}:2377"}


def _limit(existing: Existing) -> None:
    """Authentication: a user by its certificate's name, and a role for one prefix."""
    existing.ctl("user", "add", "root", "--no-password")
    existing.ctl("user", "grant-role", "root", "root")
    existing.ctl("user", "add", "swarmlite", "--no-password")
    existing.ctl("role", "add", "swarm")
    existing.ctl("role", "grant-permission", "swarm", "readwrite", "--prefix=true",
                 "/back/swarmlite/")  # fmt: skip
    existing.ctl("user", "grant-role", "swarmlite", "swarm")
    existing.ctl("auth", "enable")


def _secrets(node: Node) -> list[str]:
    if not node.nodes():
        return []
    found = node.control().ListSecrets(ListRequest(), timeout=20).secrets
    return sorted(secret.spec.annotations.name for secret in found)


def _ready(seen_by: Node, node_id: str) -> bool:
    node = seen_by.nodes().get(node_id)
    return node is not None and node.status.state == NodeStatus.READY


def _leads(node: Node, node_id: str) -> bool:
    found = node.nodes().get(node_id)
    return found is not None and found.manager_status.leader


def _wrote(node: Node, name: str) -> bool:
    if name not in _secrets(node):
        create_secret(node, name)
    return True
