"""Certificates, joining and roles against a real server: each attack, and what honest nodes do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from google.protobuf import descriptor_pool

from swarmlite import rpc
from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    PermissionDenied,
    ResourceExhausted,
    SwarmliteError,
    Unavailable,
)
from swarmlite.ids import new_id
from swarmlite.manager import auth
from swarmlite.manager.ca import anyone, tokens
from swarmlite.manager.ca.root import MANAGER, WORKER, RootCA, Subject, new_request, subject_of
from swarmlite.manager.ca.service import MAX_FAILURES, CAService, new_node
from swarmlite.manager.server import serving
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.manager.store.sealing import StoreKey
from swarmlite.manager.storekeys import KeptKeys, load, to_messages
from swarmlite.model.timestamps import set_now
from swarmlite.proto import ca_pb2 as pb
from swarmlite.proto import control_pb2, objects_pb2
from swarmlite.proto.ca_pb2_grpc import CAStub, add_CAServicer_to_server
from swarmlite.proto.control_pb2_grpc import (
    ControlServicer,
    ControlStub,
    add_ControlServicer_to_server,
)
from swarmlite.proto.types_pb2 import NodeRole, NodeStatus


class OneNode(ControlServicer):
    """Answers GetNode, and says who asked."""

    async def GetNode(self, request: Any, context: Any) -> objects_pb2.Node:
        return objects_pb2.Node(id=auth.caller(context).node_id)

    async def Watch(self, request: Any, context: Any) -> Any:
        yield control_pb2.WatchResponse()
        raise FailedPrecondition("the end")


class NoMembers:
    def __init__(self) -> None:
        self.removed: list[str] = []

    async def add(self, node_id: str, peer_url: str) -> pb.AddMemberResponse:
        return pb.AddMemberResponse(initial_cluster=f"{node_id}={peer_url}", member_id=7)

    async def remove(self, node_id: str, member_id: str = "") -> None:
        self.removed.append(node_id)


@dataclass
class Manager:
    root: RootCA
    store: MemoryStore
    cluster: objects_pb2.Cluster
    addr: str
    socket: Path
    folder: Path
    members: NoMembers
    kept: KeptKeys

    def stored(self) -> objects_pb2.Cluster:
        cluster = self.store.view.cluster
        assert cluster is not None
        return cluster

    async def change(self, **fields: Any) -> objects_pb2.Cluster:
        copy = objects_pb2.Cluster()
        copy.CopyFrom(self.stored())
        copy.MergeFrom(objects_pb2.Cluster(**fields))
        await self.store.commit([Put(copy)])
        return copy

    def channel(self, key: bytes | None, cert: bytes | None) -> Any:
        return rpc.channel_with(
            [self.addr], grpc.ssl_channel_credentials(self.root.cert, key, cert)
        )

    def anyone(self) -> Any:
        return self.channel(anyone.key(), anyone.CERT)

    def certified(
        self, role: str, node_id: str = "", root: RootCA | None = None, cluster_id: str = ""
    ) -> tuple[bytes, bytes]:
        key, csr = new_request()
        subject = Subject(node_id or new_id(), role, cluster_id or self.cluster.id)
        return key, (root or self.root).issue(csr, subject)


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    root, store = RootCA.create(), MemoryStore()
    cluster = objects_pb2.Cluster(id=new_id(), vxlan_udp_port=4789)
    cluster.root_ca.ca_cert, cluster.root_ca.ca_key = root.cert, root.key
    ca_digest = tokens.digest(root.cert)
    cluster.root_ca.join_tokens.worker = tokens.new_token(ca_digest)
    cluster.root_ca.join_tokens.manager = tokens.new_token(ca_digest)
    await store.commit([Put(cluster)])
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    key, csr = new_request()
    (certificates / "ca.crt").write_bytes(root.cert)
    (certificates / "node.key").write_bytes(key)
    (certificates / "node.crt").write_bytes(root.issue(csr, Subject("m1", MANAGER, cluster.id)))
    members, kept = NoMembers(), KeptKeys(tmp_path / "store.keys")
    services = [
        lambda s: add_CAServicer_to_server(CAService(store, members, kept), s),
        lambda s: add_ControlServicer_to_server(OneNode(), s),
    ]
    async with serving(
        services,
        lambda: store.view,
        socket_path=tmp_path / "manager.sock",
        listen_addr="127.0.0.1:0",
        certificates_dir=certificates,
    ) as port:
        yield Manager(
            root, store, cluster, f"127.0.0.1:{port}", tmp_path / "manager.sock", tmp_path, members,
            kept,
        )  # fmt: skip


async def call(channel: Any, stub: Any, method: str, request: Any) -> Any:
    try:
        with rpc.translated("the manager"):
            return await getattr(stub(channel), method)(request, timeout=5)
    finally:
        await channel.close()


async def get_node(channel: Any) -> Any:
    return await call(channel, ControlStub, "GetNode", control_pb2.GetRequest(ref="x"))


async def issue(channel: Any, **fields: Any) -> Any:
    fields.setdefault("csr", new_request()[1])
    return await call(
        channel, CAStub, "IssueNodeCertificate", pb.IssueNodeCertificateRequest(**fields)
    )


# joining
async def test_a_worker_joins_with_the_workers_token(manager: Manager) -> None:
    request = pb.IssueNodeCertificateRequest(
        token=manager.cluster.root_ca.join_tokens.worker, csr=new_request("swarm-manager")[1]
    )
    request.description.hostname = "alpha"
    request.availability = 1
    answer = await call(manager.anyone(), CAStub, "IssueNodeCertificate", request)
    subject, _ = subject_of(answer.certificate)
    assert (subject.node_id, subject.role) == (answer.node_id, WORKER)
    assert subject.cluster_id == manager.cluster.id
    assert answer.role == NodeRole.WORKER
    node = manager.store.view.nodes.get(answer.node_id)
    assert node is not None
    assert node.description.hostname == "alpha"
    assert node.spec.availability == 1
    certificate = x509.load_pem_x509_certificate(answer.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {answer.node_id, WORKER, "localhost"}


async def test_a_request_for_the_managers_role_with_the_workers_token_makes_a_worker(
    manager: Manager,
) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, MANAGER),
         x509.NameAttribute(x509.NameOID.COMMON_NAME, "m1")]
    )  # fmt: skip
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(MANAGER)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    answer = await issue(
        manager.anyone(),
        token=manager.cluster.root_ca.join_tokens.worker,
        csr=csr.public_bytes(Encoding.PEM),
        advertise_addr="10.9.9.9:2377",
    )
    certificate = x509.load_pem_x509_certificate(answer.certificate)
    subject, _ = subject_of(answer.certificate)
    assert subject.role == WORKER
    assert subject.node_id != "m1"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert MANAGER not in names.get_values_for_type(x509.DNSName)
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


async def test_a_manager_joins_with_its_address_in_the_certificate(manager: Manager) -> None:
    answer = await issue(
        manager.anyone(),
        token=manager.cluster.root_ca.join_tokens.manager,
        advertise_addr="10.1.2.3:2377",
    )
    certificate = x509.load_pem_x509_certificate(answer.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "10.1.2.3" in {str(a) for a in names.get_values_for_type(x509.IPAddress)}
    assert answer.role == NodeRole.MANAGER
    assert [m.addr for m in answer.managers] == ["10.1.2.3:2377"]


async def test_what_a_joining_node_says_of_itself_is_bounded_and_cleaned(
    manager: Manager,
) -> None:
    request = pb.IssueNodeCertificateRequest(
        token=manager.cluster.root_ca.join_tokens.worker, csr=new_request()[1]
    )
    request.description.hostname = "al\x1b[2J\npha" + "x" * 100_000
    request.description.os_name = "x" * 1_000_000
    for number in range(5000):
        request.description.engine.labels[f"label{number}"] = "v" * 100
    answer = await call(manager.anyone(), CAStub, "IssueNodeCertificate", request)
    node = manager.store.view.nodes.get(answer.node_id)
    assert node is not None and node.ByteSize() < 100_000
    assert node.description.hostname.startswith("al [2J pha")
    assert node.description.hostname.isprintable() and len(node.description.hostname) <= 253


@pytest.mark.parametrize(
    "address",
    ["", "m1:2377", "10.1.2.3", "10.1.2.3:0", "10.1.2.3:99999", "0.0.0.0:2377", "224.0.0.1:1",
     "10.1.2.3:2377\n", "x" * 100_000, "[::]:2377", "10.1.2.3,10.1.2.4:2377"],
)  # fmt: skip
async def test_an_address_that_is_not_one_hosts_is_refused_and_leaves_no_node(
    manager: Manager, address: str
) -> None:
    with pytest.raises(InvalidSpec, match=r"advertise address: .*expected IP:PORT") as refused:
        await issue(
            manager.anyone(),
            token=manager.cluster.root_ca.join_tokens.manager,
            advertise_addr=address,
        )
    assert len(str(refused.value)) < 200
    assert len(manager.store.view.nodes) == 0


@pytest.mark.parametrize("token", ["", "nonsense", "SWMTKN-1-" + "0" * 50 + "-" + "0" * 25])
async def test_a_wrong_token_is_refused_and_leaves_no_node(manager: Manager, token: str) -> None:
    with pytest.raises(PermissionDenied, match="token"):
        await issue(manager.anyone(), token=token)
    assert len(manager.store.view.nodes) == 0


async def test_a_rotated_token_is_refused(manager: Manager) -> None:
    old = manager.cluster.root_ca.join_tokens.worker
    cluster = objects_pb2.Cluster()
    cluster.CopyFrom(manager.stored())
    cluster.root_ca.join_tokens.worker = tokens.new_token(tokens.digest(manager.root.cert))
    await manager.store.commit([Put(cluster)])
    with pytest.raises(PermissionDenied, match="rotated"):
        await issue(manager.anyone(), token=old)


async def test_guessing_tokens_is_limited_and_the_right_one_waits_too(manager: Manager) -> None:
    for _ in range(MAX_FAILURES):
        with pytest.raises(PermissionDenied):
            await issue(manager.anyone(), token=tokens.new_token("0" * 50))
    with pytest.raises(ResourceExhausted, match="too many"):
        await issue(manager.anyone(), token=manager.cluster.root_ca.join_tokens.worker)


async def test_a_request_that_cannot_be_signed_leaves_no_node(manager: Manager) -> None:
    with pytest.raises(InvalidSpec, match="certificate request"):
        await issue(
            manager.anyone(), token=manager.cluster.root_ca.join_tokens.worker, csr=b"rubbish"
        )
    assert len(manager.store.view.nodes) == 0


async def test_the_root_certificate_has_the_digest_of_the_token(manager: Manager) -> None:
    answer = await call(
        manager.anyone(), CAStub, "GetRootCertificate", pb.GetRootCertificateRequest()
    )
    token = tokens.parse(manager.cluster.root_ca.join_tokens.worker)
    assert tokens.digest(answer.ca_cert) == token.ca_digest
    assert len(token.ca_digest), len(token.secret) == (50, 25)


# certificates
async def test_a_connection_without_a_certificate_is_refused(manager: Manager) -> None:
    with pytest.raises(Unavailable):
        await get_node(manager.channel(None, None))


async def test_a_certificate_of_another_ca_with_a_known_name_is_refused(manager: Manager) -> None:
    with pytest.raises(Unavailable):
        await get_node(manager.channel(*manager.certified(MANAGER, "m1", RootCA.create())))


async def test_a_certificate_signed_by_the_well_known_one_is_refused(manager: Manager) -> None:
    key, csr = new_request()
    forged = RootCA(anyone.CERT, anyone.key()).issue(
        csr, Subject("m1", MANAGER, manager.cluster.id)
    )
    with pytest.raises(Unavailable):
        await get_node(manager.channel(key, forged + anyone.CERT))


async def test_a_certificate_of_another_cluster_is_refused(manager: Manager) -> None:
    with pytest.raises(PermissionDenied, match="another cluster"):
        await get_node(manager.channel(*manager.certified(MANAGER, cluster_id="other")))


async def test_an_expired_certificate_is_refused(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swarmlite.manager.ca import root as module

    monkeypatch.setattr(module, "MINIMUM_LIFE", timedelta(minutes=-59))
    key, csr = new_request()
    subject = Subject(new_id(), MANAGER, manager.cluster.id)
    expired = manager.root.issue(csr, subject, timedelta(minutes=-30))
    with pytest.raises(Unavailable):
        await get_node(manager.channel(key, expired))


async def test_a_removed_node_is_refused_whatever_its_certificate_says(manager: Manager) -> None:
    key, cert = manager.certified(MANAGER, "gone")
    assert (await get_node(manager.channel(key, cert))).id == "gone"
    cluster = objects_pb2.Cluster()
    cluster.CopyFrom(manager.stored())
    set_now(cluster.blacklisted_certificates["gone"].expiry)
    await manager.store.commit([Put(cluster)])
    with pytest.raises(PermissionDenied, match="removed"):
        await get_node(manager.channel(key, cert))
    with pytest.raises(PermissionDenied, match="removed"):
        await issue(manager.channel(key, cert))


# roles
async def test_a_worker_may_not_call_the_api(manager: Manager) -> None:
    with pytest.raises(PermissionDenied, match="a worker may not call GetNode"):
        await get_node(manager.channel(*manager.certified(WORKER)))
    with pytest.raises(PermissionDenied, match="without a certificate"):
        await get_node(manager.anyone())


async def test_streams_are_checked_and_translated_too(manager: Manager) -> None:
    async def watch(channel: Any) -> int:
        seen = 0
        try:
            with rpc.translated():
                async for _ in ControlStub(channel).Watch(control_pb2.WatchRequest(), timeout=5):
                    seen += 1
        except FailedPrecondition as error:
            assert str(error) == "the end"
        finally:
            await channel.close()
        return seen

    assert await watch(manager.channel(*manager.certified(MANAGER))) == 1
    with pytest.raises(PermissionDenied):
        await watch(manager.channel(*manager.certified(WORKER)))


async def test_a_demoted_managers_certificate_counts_as_a_workers(manager: Manager) -> None:
    node = new_node("demoted", NodeRole.WORKER)
    await manager.store.commit([Put(node)])
    with pytest.raises(PermissionDenied, match="a worker may not call"):
        await get_node(manager.channel(*manager.certified(MANAGER, "demoted")))


async def test_the_stores_keys_are_given_to_managers_only(manager: Manager) -> None:
    manager.kept.add([StoreKey.new()])
    for method, request in (
        ("GetStoreKeys", pb.GetStoreKeysRequest()),
        ("TakeStoreKeys", pb.TakeStoreKeysRequest()),
    ):
        for channel in (manager.channel(*manager.certified(WORKER)), manager.anyone()):
            with pytest.raises(PermissionDenied):
                await call(channel, CAStub, method, request)
    other = manager.channel(*manager.certified(MANAGER))
    given = await call(other, CAStub, "GetStoreKeys", pb.GetStoreKeysRequest())
    assert list(given.keys) == to_messages(manager.kept.keys)


async def test_a_key_that_is_handed_over_is_on_the_disk(manager: Manager) -> None:
    new = StoreKey.new()
    request = pb.TakeStoreKeysRequest(keys=to_messages([new]))
    for _ in range(2):
        other = manager.channel(*manager.certified(MANAGER))
        await call(other, CAStub, "TakeStoreKeys", request)
    path = manager.folder / "store.keys"
    assert list(load(path)) == [new] == list(manager.kept.keys)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidSpec, match="8 bytes"):
        short = pb.TakeStoreKeysRequest(keys=[pb.StoreKey(id=b"1", secret=b"2")])
        other = manager.channel(*manager.certified(MANAGER))
        await call(other, CAStub, "TakeStoreKeys", short)


async def test_the_unix_socket_is_roots_alone_and_local(manager: Manager) -> None:
    assert manager.socket.stat().st_mode & 0o777 == 0o600
    assert (await get_node(rpc.unix_channel(manager.socket))).id == ""


async def test_no_other_service_than_the_known_ones_answers(manager: Manager) -> None:
    channel = manager.channel(*manager.certified(MANAGER))
    with pytest.raises(SwarmliteError), rpc.translated():
        await channel.unary_unary("/swarmlite.Nothing/Call")(b"", timeout=5)
    await channel.close()


def test_every_rpc_states_its_roles() -> None:
    pool = descriptor_pool.Default()
    from swarmlite.proto import dispatcher_pb2  # noqa: F401

    for name in ("CA", "Control", "Dispatcher"):
        service = pool.FindServiceByName(f"swarmlite.{name}")
        for method in service.methods:
            assert auth.roles_of(f"/{service.full_name}/{method.name}"), method.full_name


def test_what_states_no_role_is_refused_to_everyone() -> None:
    nobody = auth.roles_of("/swarmlite.Control/NoSuchMethod")
    for who in (auth.LOCAL, auth.ANYONE):
        assert not auth.may_call(who, nobody)


# life of a node
async def test_a_renewal_keeps_the_node_and_takes_the_role_that_the_cluster_desires(
    manager: Manager,
) -> None:
    joined = await issue(manager.anyone(), token=manager.cluster.root_ca.join_tokens.worker)
    key, csr = new_request()
    first = await issue(manager.anyone(), token=manager.cluster.root_ca.join_tokens.worker, csr=csr)
    node = objects_pb2.Node()
    node.CopyFrom(manager.store.view.nodes.get(first.node_id) or node)
    node.spec.desired_role = NodeRole.MANAGER
    await manager.store.commit([Put(node)])
    renewed = await issue(manager.channel(key, first.certificate), csr=csr)
    assert renewed.node_id == first.node_id != joined.node_id
    assert subject_of(renewed.certificate)[0].role == WORKER  # it runs nothing of a manager's yet
    own = {"csr": csr, "follow_role": True, "advertise_addr": "10.0.0.9:2377"}
    renewed = await issue(manager.channel(key, first.certificate), **own)
    assert subject_of(renewed.certificate)[0].role == MANAGER
    stored = manager.store.view.nodes.get(first.node_id)
    assert stored is not None and stored.role == NodeRole.MANAGER
    assert stored.manager_status.addr == "10.0.0.9:2377"

    # And back: while its member of etcd is still in, it gets no worker's certificate.
    node.CopyFrom(stored)
    node.spec.desired_role = NodeRole.WORKER
    await manager.store.commit([Put(node)])
    with pytest.raises(Unavailable, match="still being taken out"):
        await issue(manager.channel(key, renewed.certificate), **own)
    node.CopyFrom(manager.store.view.nodes.get(first.node_id) or node)
    node.role = NodeRole.WORKER  # as the leader writes it, once the member is out
    await manager.store.commit([Put(node)])
    renewed = await issue(manager.channel(key, renewed.certificate), **own)
    assert subject_of(renewed.certificate)[0].role == WORKER


async def test_a_node_that_leaves_is_down_at_once(manager: Manager) -> None:
    key, csr = new_request()
    joined = await issue(
        manager.anyone(), token=manager.cluster.root_ca.join_tokens.worker, csr=csr
    )
    channel = manager.channel(key, joined.certificate)
    await call(channel, CAStub, "LeaveCluster", pb.LeaveClusterRequest())
    node = manager.store.view.nodes.get(joined.node_id)
    assert node is not None
    assert node.status.state == NodeStatus.DOWN


async def test_a_manager_leaves_by_force_alone_and_takes_its_member_out(manager: Manager) -> None:
    key, csr = new_request()
    token = manager.cluster.root_ca.join_tokens.manager
    joined = await issue(manager.anyone(), token=token, csr=csr, advertise_addr="10.0.0.9:2377")

    def own() -> Any:
        return manager.channel(key, joined.certificate)

    member = pb.AddMemberRequest(name=joined.node_id, peer_url="https://10.0.0.9:2382")
    answer = await call(own(), CAStub, "AddMember", member)
    assert answer.member_id == 7
    with pytest.raises(PermissionDenied, match="its own member"):
        await call(own(), CAStub, "AddMember", pb.AddMemberRequest(name="another"))
    with pytest.raises(FailedPrecondition, match="by force"):
        await call(own(), CAStub, "LeaveCluster", pb.LeaveClusterRequest())
    await call(own(), CAStub, "LeaveCluster", pb.LeaveClusterRequest(force=True))
    assert manager.members.removed == [joined.node_id]
    node = manager.store.view.nodes.get(joined.node_id)
    assert node is not None
    assert node.role == NodeRole.WORKER


async def test_a_renewed_certificate_is_shown_without_a_restart(manager: Manager) -> None:
    from swarmlite.node.join import presented

    before, _ = await asyncio.to_thread(presented, manager.addr)
    key, cert = manager.certified(MANAGER, "m1")
    folder = manager.folder / "certificates"
    (folder / "node.key").write_bytes(key)
    (folder / "node.crt").write_bytes(cert)
    after, _ = await asyncio.to_thread(presented, manager.addr)
    assert after.strip() == cert.strip() != before.strip()
    answer = await call(
        manager.anyone(), CAStub, "GetRootCertificate", pb.GetRootCertificateRequest()
    )
    assert answer.ca_cert == manager.root.cert
