"""swarmlited on machines of namespaces: init, join, leave, restarts, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from swarmlite.manager.ca import anyone, tokens
from swarmlite.manager.ca.root import WORKER, RootCA, Subject, new_request
from swarmlite.paths import Paths
from swarmlite.proto.ca_pb2 import GetRootCertificateRequest
from swarmlite.proto.ca_pb2_grpc import CAStub
from swarmlite.proto.control_pb2 import GetRequest, ListRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.types_pb2 import NodeStatus
from swarmlite.testing.namespaces import Lan, Machine

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd-server is not installed"),
]

# gRPC is imported in the module above, but forks here are vfork and exec of subprocess only.


class Refused(Exception):
    """The daemon answered an error."""


class Node:
    """A machine and its swarmlited."""

    def __init__(self, name: str, lan: Lan, root: Path) -> None:
        self.name = name
        self.paths = Paths(root / name / "s", root / name / "r")
        self.machine = Machine(name)
        self.addr = lan.address()
        lan.plug(self.machine, f"p-{name}", self.addr)
        self.log = root / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def command(self, *options: str) -> list[str]:
        return self.machine.enter(
            [sys.executable, "-m", "swarmlite.node.daemon", f"--state-dir={self.paths.state_dir}",
             f"--run-dir={self.paths.run_dir}",
             f"--cgroup-parent=/sl-cl{os.getpid()}-{self.name}", *options]
        )  # fmt: skip

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        until(lambda: self._status_or_none() is not None, "the daemon answers", 15)

    def _status_or_none(self) -> dict[str, Any] | None:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.request("status")
        except OSError:
            return None

    def request(self, op: str, **fields: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(str(self.paths.daemon_socket))
            client.sendall(json.dumps({"op": op, **fields}).encode() + b"\n")
            with client.makefile() as lines:
                for line in lines:
                    answer = json.loads(line)
                    if "ok" in answer:
                        return dict(answer["ok"])
                    if "error" in answer:
                        raise Refused(answer["error"])
        raise Refused("the connection was closed")

    def signal(self, number: signal.Signals) -> None:
        pid = str(self.request("status")["pid"])  # of the machine's own pid namespace
        subprocess.run(self.machine.enter(["kill", f"-{number.value}", pid]), check=True)
        assert self.process is not None
        self.process.wait(30)

    def control(self) -> ControlStub:
        return ControlStub(
            grpc.insecure_channel(
                f"unix:{self.paths.manager_socket}",
                options=[("grpc.default_authority", "localhost")],
            )
        )

    def nodes(self) -> dict[str, Any]:
        """The cluster's nodes by id, as this manager sees them; nothing while it is silent."""
        try:
            answer = self.control().ListNodes(ListRequest(), timeout=5, wait_for_ready=True)
        except grpc.RpcError:
            return {}
        return {node.id: node for node in answer.nodes}

    def tokens(self) -> Any:
        cluster = self.control().GetCluster(
            GetRequest(ref="default"), timeout=5, wait_for_ready=True
        )
        return cluster.root_ca.join_tokens

    def close(self) -> None:
        self.machine.kill()
        if self.process is not None:
            self.process.wait(10)


def until(condition: Callable[[], Any], what: str, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    lan = Lan(f"cldaemon{os.getpid()}")
    yield lan
    lan.close()


@pytest.fixture
def make(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Node]]:
    # Short: paths of sockets have 108 bytes.
    root = tmp_path_factory.mktemp("d")
    nodes: list[Node] = []

    def one(name: str) -> Node:
        nodes.append(Node(name, lan, root))
        return nodes[-1]

    yield one
    for node in nodes:
        node.close()
    shutil.rmtree(root, ignore_errors=True)


def state_of(paths: Paths) -> set[str]:
    return {entry.name for entry in paths.state_dir.iterdir()} & {
        "node.json", "certificates", "etcd", "manager", "joining",
    }  # fmt: skip


def test_a_cluster_is_made_restarted_and_left(make: Callable[[str], Node]) -> None:
    node = make("a")
    assert node.request("status")["swarm"] == "inactive"

    # root's own; and no child started while a socket was being bound has its narrow umask
    until(lambda: node.paths.agent_dir.exists(), "the agent has its folder")
    for folder in (node.paths.state_dir, node.paths.run_dir, node.paths.agent_dir):
        assert folder.stat().st_mode & 0o777 == 0o700, folder
    assert node.paths.daemon_socket.stat().st_mode & 0o777 == 0o600

    # a second daemon on the same state
    second = subprocess.run(node.command(), capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1, second.stderr
    assert "already uses" in second.stderr

    # bad input leaves the state as it was
    for fields, expected in (
        ({"advertise_addr": "nonsense0"}, "neither an IP address nor an interface"),
        ({"advertise_addr": "0.0.0.0"}, "unspecified"),
        ({"listen_addr": "0.0.0.0:99999"}, "--listen-addr"),
        ({"listen_addr": "9.9.9.9:2377"}, "cannot listen on 9.9.9.9:2377"),
        ({"data_path_port": 80}, "between 1024 and 49151"),
        ({"default_addr_pool": ["10.0.0.0/33"]}, "--default-addr-pool"),
        ({"default_addr_pool": ["127.0.0.0/16"]}, "is not a range of host addresses"),
        ({"default_addr_pool": ["fd00::/64"]}, "is not an IPv4 subnet"),
        ({"default_addr_pool": ["10.0.0.0/16"], "default_addr_pool_mask_length": 8}, "mask-length"),
        ({"availability": "lazy"}, 'invalid availability "lazy"'),
        ({"cert_expiry_s": 60}, "at least 1h"),
    ):
        with pytest.raises(Refused, match=expected):
            node.request("init", **fields)
        assert state_of(node.paths) == set(), fields
    with pytest.raises(Refused, match="not part of a swarm"):
        node.request("leave")
    with pytest.raises(Refused, match="unknown op 'dance'"):
        node.request("dance")

    # init, by the one address that there is
    made = node.request("init", listen_addr=f"{node.addr}:2377")
    assert made["manager_addr"] == f"{node.addr}:2377"
    tokens.parse(made["worker_token"])
    assert state_of(node.paths) == {"node.json", "certificates", "etcd", "manager"}
    # the agent that was ended for it, perhaps before it had begun, went quietly
    assert "Traceback" not in (node.paths.logs_dir / "agent.log").read_text()
    assert (node.paths.certificates_dir / "node.key").stat().st_mode & 0o777 == 0o600
    status = node.request("status")
    assert (status["swarm"], status["role"]) == ("active", "manager")
    assert status["children"]["etcd"]["pid"]
    until(lambda: node.nodes()[made["node_id"]].manager_status.leader, "it leads")
    ingress = node.control().GetNetwork(GetRequest(ref="ingress"), timeout=5)
    assert ingress.spec.ingress
    with pytest.raises(Refused, match="already part of a swarm"):
        node.request("init")
    with pytest.raises(Refused, match="already part of a swarm"):
        node.request("join", token=made["worker_token"], remote="127.0.0.1")

    # etcd is for managers' certificates only
    cluster = status["cluster_id"]
    assert not _etcd_answers(node, None)
    worker = _certificate(node, Subject("w", WORKER, cluster))
    assert not _etcd_answers(node, worker)
    assert _etcd_answers(node, node.paths.certificates_dir)

    # a killed child is started again, a killed daemon finds its cluster
    manager = status["children"]["manager"]["pid"]
    subprocess.run(node.machine.enter(["kill", "-9", str(manager)]), check=True)
    until(
        lambda: node.request("status")["children"]["manager"]["pid"] not in (None, manager),
        "the manager is back",
    )
    until(node.nodes, "the manager answers")
    node.signal(signal.SIGKILL)
    node.start()
    until(lambda: made["node_id"] in node.nodes(), "the cluster is back")
    assert node.request("status")["cluster_id"] == cluster

    # leave
    with pytest.raises(Refused, match="last manager erases"):
        node.request("leave")
    node.request("leave", force=True)
    assert node.request("status")["swarm"] == "inactive"
    assert state_of(node.paths) == set()
    again = node.request("init", listen_addr=f"{node.addr}:2377")
    assert again["node_id"] != made["node_id"]
    node.signal(signal.SIGTERM)
    assert not node.paths.daemon_socket.exists()


def _certificate(node: Node, subject: Subject) -> Path:
    """A certificate of the cluster's own root, which only the managers' store has."""
    from swarmlite.manager import storekeys
    from swarmlite.manager.ca.root import RootCA
    from swarmlite.manager.store.etcd_mirror import PREFIX
    from swarmlite.proto.objects_pb2 import Cluster

    out = _etcdctl(
        node,
        node.paths.certificates_dir,
        "get",
        "--prefix",
        f"{PREFIX.decode()}cluster/",
    )
    place, sealed = out[:-1].split(b"\n", 1)
    keys = storekeys.load(node.paths.store_keys_file)
    cluster = Cluster.FromString(keys.open(place, sealed))
    root = RootCA(cluster.root_ca.ca_cert, cluster.root_ca.ca_key)
    key, csr = new_request()
    folder = node.paths.state_dir / "other"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(root.cert)
    (folder / "node.key").write_bytes(key)
    (folder / "node.crt").write_bytes(root.issue(csr, subject))
    return folder


def _etcdctl(node: Node, certificates: Path | None, *arguments: str) -> bytes:
    command = ["etcdctl", "--endpoints=https://127.0.0.1:2381", "--command-timeout=2s",
               f"--cacert={node.paths.certificates_dir}/ca.crt"]  # fmt: skip
    if certificates is not None:
        command += [f"--cert={certificates}/node.crt", f"--key={certificates}/node.key"]
    done = subprocess.run(
        node.machine.enter([*command, *arguments]),
        capture_output=True,
        timeout=20,
        env=os.environ | {"ETCDCTL_API": "3"},
    )
    if done.returncode:
        raise PermissionError(done.stderr)
    return done.stdout


def _etcd_answers(node: Node, certificates: Path | None) -> bool:
    try:
        _etcdctl(node, certificates, "endpoint", "health")
    except PermissionError:
        return False
    return True


def test_a_worker_and_a_manager_join_and_leave(make: Callable[[str], Node]) -> None:
    first = make("m1")
    made = first.request("init", listen_addr=f"{first.addr}:2377")
    remote = made["manager_addr"]
    worker = make("w1")

    # what a join refuses leaves nothing
    other = tokens.new_token(tokens.digest(RootCA.create().cert))
    pinned = tokens.parse(made["worker_token"]).ca_digest
    for fields, expected in (
        ({"token": "SWMTKN-1-x"}, "invalid join token"),
        ({"token": other}, "does not match fingerprint"),
        ({"token": tokens.new_token(pinned)}, "join token is not valid"),
        ({"remote": f"{first.addr}:2"}, "cannot reach"),
        ({"remote": f"{first.addr}:2382"}, "is not a manager|does not answer"),
        ({"availability": "lazy"}, "invalid availability"),
    ):
        asked = {"token": made["worker_token"], "remote": remote, **fields}
        with pytest.raises(Refused, match=expected):
            worker.request("join", **asked)
        assert state_of(worker.paths) == set(), fields
    assert len(first.nodes()) == 1

    joined = worker.request("join", token=made["worker_token"], remote=first.addr)
    assert joined["role"] == "worker"
    assert not worker.paths.manager_socket.exists()
    node = first.nodes()[joined["node_id"]]
    assert node.description.hostname == "w1"
    with pytest.raises(Refused, match="already part of a swarm"):
        worker.request("join", token=made["worker_token"], remote=remote)

    # a second manager: a learner of etcd first, then a voter
    second = make("m2")
    manager_token = first.tokens().manager
    promoted = second.request("join", token=manager_token, remote=remote)
    assert promoted["role"] == "manager"
    until(lambda: len(second.nodes()) == 3, "the second manager has the store")
    shown = _etcdctl(first, first.paths.certificates_dir, "member", "list")
    assert shown.count(b"false") == 2, shown
    assert second.nodes()[promoted["node_id"]].manager_status.etcd_member_id

    # they leave
    worker.request("leave")
    until(lambda: first.nodes()[joined["node_id"]].status.state == NodeStatus.DOWN, "it is down")
    with pytest.raises(Refused, match="leaves 1 managers"):
        second.request("leave")
    second.request("leave", force=True)
    until(lambda: len(first.nodes()) == 3, "one manager is enough again")
    shown = _etcdctl(first, first.paths.certificates_dir, "member", "list")
    assert shown.count(b"\n") == 1, shown
    until(lambda: first.nodes()[made["node_id"]].manager_status.leader, "the first leads")
    assert not first.nodes()[promoted["node_id"]].HasField("manager_status")


def test_the_root_certificate_is_told_to_anyone_and_nothing_else(
    make: Callable[[str], Node],
) -> None:
    node = make("m3")
    node.request("init", listen_addr=f"{node.addr}:2377")
    root = (node.paths.certificates_dir / "ca.crt").read_bytes()
    credentials = grpc.ssl_channel_credentials(root, anyone.key(), anyone.CERT)
    options = [("grpc.ssl_target_name_override", "swarm-manager"), ("grpc.enable_http_proxy", 0)]
    with grpc.secure_channel(f"{node.addr}:2377", credentials, options=options) as channel:
        ask = CAStub(channel).GetRootCertificate
        answer = ask(GetRootCertificateRequest(), timeout=20, wait_for_ready=True)
        assert answer.ca_cert == root
        with pytest.raises(grpc.RpcError, match="may not call ListNodes"):
            ControlStub(channel).ListNodes(ListRequest(), timeout=5)


def test_init_on_a_full_disk_says_so_and_leaves_nothing(make: Callable[[str], Node]) -> None:
    node = make("f")
    node.signal(signal.SIGTERM)
    small = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(node.paths.state_dir)]
    subprocess.run(node.machine.enter(small), check=True)
    node.start()
    with pytest.raises(Refused, match="no space left on the disk of"):
        node.request("init", listen_addr=f"{node.addr}:2377")
    listed = subprocess.run(
        node.machine.enter(["ls", str(node.paths.state_dir)]), capture_output=True, text=True
    ).stdout.split()
    assert not {"node.json", "certificates", "etcd", "joining"} & set(listed)
    assert node.request("status")["swarm"] == "inactive"
