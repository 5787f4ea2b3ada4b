"""Certificate, roots and role follow what the managers say; what fails is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from swarmlite import rpc
from swarmlite.identity.files import Identity, make_certificates
from swarmlite.identity.node import parse
from swarmlite.identity.renewal import SPREAD_S, Renewal, renewal_at
from swarmlite.manager.ca.root import RootCA, Subject, new_request
from swarmlite.manager.ca.service import CAService, new_node
from swarmlite.manager.controlapi import ControlService
from swarmlite.manager.server import serving
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.manager.storekeys import KeptKeys
from swarmlite.node.join import presented
from swarmlite.paths import Paths
from swarmlite.proto import ca_pb2 as pb
from swarmlite.proto.ca_pb2_grpc import add_CAServicer_to_server
from swarmlite.proto.control_pb2 import WatchRequest
from swarmlite.proto.control_pb2_grpc import ControlStub, add_ControlServicer_to_server
from swarmlite.proto.dispatcher_pb2 import SessionInfo
from swarmlite.proto.objects_pb2 import Cluster, Node, Service
from swarmlite.proto.types_pb2 import NodeRole

MEMBER = {"name": "n1", "client_url": "https://127.0.0.1:2381"}


class NoMembers:
    async def add(self, node_id: str, peer_url: str) -> pb.AddMemberResponse:
        raise AssertionError("nobody joins")

    async def remove(self, node_id: str, member_id: str = "") -> None:
        raise AssertionError("nobody leaves")


class World:
    """A manager's CA as it is, and a node's identity in a folder of its own."""

    def __init__(self, state_dir: Path) -> None:
        self.root = RootCA.create()
        self.store = MemoryStore()
        self.identity = Identity(Paths(state_dir, state_dir / "run"))
        self.address = ""
        self.asked = 0
        self.renewals = 0

    async def begin(self, role: str) -> None:
        """The cluster, with this node in it."""
        cluster = Cluster(id="cluster")
        cluster.root_ca.ca_cert, cluster.root_ca.ca_key = self.root.cert, self.root.key
        node = new_node("n1", NodeRole.MANAGER if role == "manager" else NodeRole.WORKER)
        node.manager_status.addr = "10.0.0.1:2377"
        await self.store.commit([Put(cluster), Put(node)])
        folder = self.identity.scratch()
        certify(folder / "certificates", self.root, f"swarm-{role}")
        self.identity.put_in_place(folder, parse({
            "node_id": "n1", "cluster_id": "cluster", "role": role,
            "advertise_addr": "10.0.0.1:2377", "listen_addr": "0.0.0.0:2377",
            "etcd": MEMBER if role == "manager" else None,
            "etcd_endpoints": ["127.0.0.1:2381"] if role == "manager" else [],
        }))  # fmt: skip

    def renewal(self) -> Renewal:
        return Renewal(
            self.identity, self._next, self._channel, self._done, retry_s=0.01, spread_s=0.01
        )

    def _next(self) -> str:
        self.asked += 1
        return self.address

    def channel(self) -> grpc.aio.Channel:
        return self._channel(self.address)

    def _channel(self, address: str) -> grpc.aio.Channel:
        return rpc.secure_channel([address], self.identity.certificates.folder)

    def _done(self) -> None:
        self.renewals += 1

    def matching(self) -> bool:
        """Whether key and certificate belong together."""
        key = load_pem_private_key(self.identity.certificates.key, None)
        own = x509.load_pem_x509_certificate(self.identity.certificates.certificate)
        return key.public_key() == own.public_key()


def certify(folder: Path, root: RootCA, role: str) -> None:
    key, csr = new_request()
    certificate = root.issue(csr, Subject("n1", role, "cluster"), timedelta(hours=1))
    make_certificates(folder, roots=root.cert, key=key, certificate=certificate)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    made = World(state)
    kept = KeptKeys(tmp_path / "store.keys")
    certify(tmp_path / "manager", made.root, "swarm-manager")
    kept = KeptKeys(tmp_path / "store.keys")
    ca = CAService(made.store, NoMembers(), kept)
    control = ControlService(made.store, "m1", None)  # type: ignore[arg-type]  # asked for no logs
    async with serving(
        [
            lambda server: add_CAServicer_to_server(ca, server),
            lambda server: add_ControlServicer_to_server(control, server),
        ],
        lambda: made.store.view,
        socket_path=None,
        listen_addr="127.0.0.1:0",
        certificates_dir=tmp_path / "manager",
    ) as port:
        made.address = f"127.0.0.1:{port}"
        yield made


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates that are made are past 80% of their life."""
    monkeypatch.setattr("swarmlite.manager.ca.root.BACKDATE", timedelta(hours=10))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts")
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", state], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", state], check=True)


@pytest.fixture
def full(small_disk: None, world: World) -> World:
    return world


@contextlib.asynccontextmanager
async def running(renewal: Renewal) -> AsyncIterator[asyncio.Task[None]]:
    life = asyncio.create_task(renewal.run())
    try:
        yield life
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def test_renewals_are_spread_over_a_part_of_the_certificates_life() -> None:
    """All of them in time, and in no part of the window more than chance brings there."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    end = begin + timedelta(days=90)
    shares = [
        (renewal_at(begin, end, begin, SPREAD_S) - begin) / (end - begin) for _ in range(3000)
    ]
    assert all(0.5 <= share <= 0.8 for share in shares)
    parts = Counter(int((share - 0.5) / 0.1) for share in shares)
    assert all(parts[part] > 700 for part in range(3)), parts  # a thousand each, on average


@pytest.mark.parametrize("share", [0.8, 0.95, 1.5])
def test_what_is_overdue_is_renewed_at_once_and_not_by_all_in_the_same_moment(share: float) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    end = begin + timedelta(days=90)
    now = begin + (end - begin) * share
    waits = [(renewal_at(begin, end, now, SPREAD_S) - now).total_seconds() for _ in range(300)]
    assert all(0 <= wait_s <= SPREAD_S for wait_s in waits)
    assert max(waits) - min(waits) > SPREAD_S / 2


async def test_an_old_certificate_is_replaced_with_its_key(old: None, world: World) -> None:
    await world.begin("worker")
    before = world.identity.certificates.certificate
    async with running(world.renewal()):
        await until(lambda: world.identity.certificates.certificate != before)
    assert world.renewals == 0, "no session ends for it"
    assert world.matching()
    files = {path.name: path.stat().st_mode & 0o777 for path in
             world.identity.certificates.folder.iterdir()}  # fmt: skip
    assert files == {"ca.crt": 0o600, "node.crt": 0o600, "node.key": 0o600}


async def test_a_watch_stands_through_the_renewals_of_both_ends(
    world: World, tmp_path: Path
) -> None:
    """Who comes anew is shown the new one."""
    await world.begin("manager")
    async with world.channel() as channel:
        watch = aiter(ControlStub(channel).Watch(WatchRequest(kinds=["service"])))
        assert not (await anext(watch)).events  # it is in place
        before, own = world.identity.certificates.certificate, tmp_path / "manager"
        for name in ("first", "second"):
            await world.renewal().renew()
            key, csr = new_request()
            (own / "node.key").write_bytes(key)
            (own / "node.crt").write_bytes(
                world.root.issue(csr, Subject("m1", "swarm-manager", "cluster"))
            )
            shown, _ = await asyncio.to_thread(presented, world.address)
            assert shown.strip() == (own / "node.crt").read_bytes().strip()
            await world.store.commit([Put(Service(id=name))])
            (event,) = (await anext(watch)).events
            assert event.service.id == name
    assert world.identity.certificates.certificate != before
    assert world.renewals == 0, "no session ends for it"


async def test_a_manager_that_was_demoted_becomes_a_worker(world: World) -> None:
    """The word of a session brings it about, and who follows the identity hears of it."""
    await world.begin("manager")
    demoted = Node()
    demoted.CopyFrom(world.store.view.nodes.get("n1") or Node())
    demoted.spec.desired_role = NodeRole.WORKER
    await world.store.commit([Put(demoted)])
    renewal = world.renewal()
    changes = world.identity.changes(look_every_s=0.01)
    heard = asyncio.ensure_future(anext(changes))
    async with running(renewal):
        renewal.heard(SessionInfo(node=demoted))
        await until(lambda: world.asked >= 2)  # its member of etcd is still in
        node = world.identity.read()
        assert node is not None and node.manager
        demoted.CopyFrom(world.store.view.nodes.get("n1") or Node())
        demoted.role = NodeRole.WORKER
        await world.store.commit([Put(demoted)])
        await asyncio.wait_for(heard, 30)
    node = world.identity.read()
    assert node is not None
    assert (node.role, node.etcd, node.etcd_endpoints) == ("worker", None, ())
    assert node.advertise_addr == "10.0.0.1:2377"
    own = x509.load_pem_x509_certificate(world.identity.certificates.certificate)
    assert "swarm-worker" in own.subject.rfc4514_string()


async def test_a_worker_that_is_promoted_notes_it_for_the_daemon(world: World) -> None:
    """And no longer when the cluster thought better of it; a certificate that came goes again."""
    await world.begin("worker")
    node = Node()
    node.CopyFrom(world.store.view.nodes.get("n1") or Node())
    node.spec.desired_role = NodeRole.MANAGER
    renewal = world.renewal()

    def promoted() -> bool:
        known = world.identity.read()
        return known is not None and known.promoted and not known.manager

    async with running(renewal):
        renewal.heard(SessionInfo(node=node))
        await until(promoted)
        key, csr = new_request()
        certificate = world.root.issue(csr, Subject("n1", "swarm-manager", "cluster"))
        world.identity.replace_certificate(key=key, certificate=certificate)
        node.spec.desired_role = NodeRole.WORKER
        renewal.heard(SessionInfo(node=node))
        await until(lambda: not promoted() and not renewal.pending)
    own = x509.load_pem_x509_certificate(world.identity.certificates.certificate)
    assert "swarm-worker" in own.subject.rfc4514_string()


async def test_a_word_that_the_ca_does_not_confirm_changes_no_role(world: World) -> None:
    """A manager whose view is behind may say worker; the CA's answer decides."""
    await world.begin("manager")
    behind = Node()
    behind.CopyFrom(world.store.view.nodes.get("n1") or Node())
    behind.spec.desired_role = NodeRole.WORKER
    renewal = world.renewal()
    async with running(renewal):
        renewal.heard(SessionInfo(node=behind))
        await until(lambda: world.asked == 1 and not renewal.pending)
    node = world.identity.read()
    assert node is not None and node.manager and node.etcd == MEMBER


async def test_roots_that_the_managers_name_are_trusted(world: World) -> None:
    await world.begin("worker")
    bundle = world.root.cert + RootCA.create().cert
    renewal = world.renewal()
    async with running(renewal):
        renewal.heard(SessionInfo(ca_cert=bundle))
        await until(lambda: world.renewals == 1)
        renewal.heard(SessionInfo(ca_cert=bundle))  # known: nobody connects again
        renewal.heard(SessionInfo())
        await until(lambda: not renewal.pending)
    assert world.identity.certificates.roots == bundle
    assert (world.renewals, world.asked) == (1, 0)


async def test_a_full_disk_leaves_the_old_identity_and_is_tried_again(
    full: World, old: None, caplog: pytest.LogCaptureFixture
) -> None:
    folder = full.identity.certificates.folder
    await full.begin("worker")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    filler = folder.parent / "filler"
    fill(filler)
    renewal = full.renewal()
    renewal.heard(SessionInfo(ca_cert=full.root.cert + b"\n"))
    async with running(renewal) as life:
        await until(lambda: caplog.text.count("No space left on device") >= 2)
        assert not life.done()
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        filler.unlink()
        await until(lambda: full.renewals >= 1)  # the roots
        await until(lambda: full.identity.certificates.certificate != before["node.crt"])
    assert full.matching()


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
