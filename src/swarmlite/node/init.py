"""`swarm init`, as a one-shot: everything is made in a scratch folder and renamed into place.

The first objects are written by an etcd of one member that runs in the scratch folder while this
does; the same data directory is the cluster's afterwards. Or by an etcd that was there before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmlite.errors import AlreadyExists, FailedPrecondition, Unavailable
from swarmlite.identity.files import Identity, make_certificates
from swarmlite.identity.node import MANAGER, NodeIdentity
from swarmlite.ids import new_id
from swarmlite.kernel.processes import die_with_parent
from swarmlite.paths import Paths
from swarmlite.storage import trees

from . import addresses, etcdcmd, etcdversions, externaletcd, oneshot

ALREADY_IN_SWARM = (
    'This node is already part of a swarm. Use "swarmlite swarm leave" to leave this swarm'
    " and join another one."
)
if TYPE_CHECKING:
    from swarmlite.manager.store.etcd_client import EtcdClient

ETCD_START_S = 120.0
"""On a slow processor; one that has ended is not waited for."""
ETCD_STOP_S = 10.0


async def init(
    paths: Paths, request: Mapping[str, Any], progress: oneshot.Progress
) -> dict[str, Any]:
    """A cluster of this node. Raises AlreadyExists (a port), InvalidSpec (a flag), Unavailable."""
    identity = Identity(paths)
    if identity.read() is not None:
        raise FailedPrecondition(ALREADY_IN_SWARM)
    advertise, listen, data_path = addresses.advertised(request)
    check_free(listen)
    node_id = new_id()
    external = externaletcd.asked(request)
    member = None if external else first_member(node_id, advertise)
    folder = identity.scratch()
    try:
        # gRPC is not imported before etcd runs: a process that has used it must not fork.
        progress("making the cluster's certificate authority")
        scratch = Paths(folder, paths.run_dir)
        made = _Made(request, node_id, advertise, scratch)
        await made.certify()
        async with opened_etcd(request, paths, scratch, member, external, progress) as etcd:
            await made.write(etcd.client, data_path, embedded=member is not None)
        identity.put_in_place(folder, made.identity(listen, data_path, member, etcd.external))
    finally:
        trees.sweep(folder)
    return {
        "node_id": node_id,
        "worker_token": made.cluster.root_ca.join_tokens.worker,
        "manager_addr": advertise,
        "unlock_key": made.cluster.unlock_key,
    }


@dataclass
class OpenedEtcd:
    """Where the first objects go."""

    client: EtcdClient
    external: externaletcd.External | None


@contextlib.asynccontextmanager
async def opened_etcd(
    request: Mapping[str, Any],
    paths: Paths,
    scratch: Paths,
    member: Mapping[str, str] | None,
    external: externaletcd.External | None,
    progress: oneshot.Progress,
) -> AsyncIterator[OpenedEtcd]:
    """The new `member`, as long as inside, or the `external` etcd, which is tried first and holds
    nothing of a cluster. Raises Unavailable, FailedPrecondition.
    """
    if external is not None:
        progress("trying etcd at " + ", ".join(external.endpoints))
        external = externaletcd.reached(external)
        externaletcd.install(external, scratch.external_etcd_dir)
        await externaletcd.checked(external, scratch.external_etcd_dir, progress)
        client = externaletcd.client(external, scratch.external_etcd_dir)
        try:
            yield OpenedEtcd(client, external)
        finally:
            await client.close()
        return
    assert member is not None
    binary = str(request.get("etcd_binary") or "etcd")
    version = etcdversions.of_binary(binary)
    known = etcdversions.known_faults(version) if version is not None else None
    if known:
        progress(f"warning: {known}")
    progress("starting etcd")
    command = etcdcmd.command(binary, member, scratch.etcd_dir, scratch.certificates_dir)
    log = paths.logs_dir / "etcd-init.log"
    try:
        with running_etcd(command, log) as process:
            from swarmlite.manager.store.etcd_client import EtcdClient

            client = EtcdClient([etcdcmd.client_endpoint(member)], scratch.certificates_dir)
            try:
                async with asyncio.timeout(ETCD_START_S):
                    await answers(client, process)
                yield OpenedEtcd(client, None)
            except TimeoutError as error:
                raise Unavailable(f"etcd did not start within {ETCD_START_S:.0f} s") from error
            finally:
                await client.close()
    except Unavailable as error:
        raise Unavailable(f"{error}{_reason(log)}") from error


def first_member(node_id: str, advertise: str) -> dict[str, str]:
    """node.json's "etcd" of a cluster's first manager."""
    client, peer = member_urls(advertise)
    return {
        "name": node_id,
        "client_url": client,
        "peer_url": peer,
        "initial_cluster": f"{node_id}={peer}",
        "initial_cluster_state": "new",
    }


def member_urls(advertise: str) -> tuple[str, str]:
    """Where a manager's etcd listens, for its manager and for its peers. Raises AlreadyExists."""
    host = addresses.split(advertise, "--advertise-addr")[0]
    # Nodes on 127.0.0.2 and so on are many on one machine: each keeps to its own address.
    own = host if host.startswith("127.") else "127.0.0.1"
    client = addresses.join(own, etcdcmd.CLIENT_PORT)
    peer = addresses.join(host, etcdcmd.PEER_PORT)
    check_free(client)
    check_free(peer)
    return f"https://{client}", f"https://{peer}"


def check_free(address: str) -> None:
    """Raises AlreadyExists when another process listens there, InvalidSpec for no own address."""
    host, port = addresses.split(address, "--listen-addr")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            raise AlreadyExists(
                f"cannot listen on {addresses.join(host, port)}: {error.strerror}"
            ) from error


def hostname_and_platform() -> tuple[str, str]:
    """This host's name, and its architecture in Go's words."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(
        platform.machine(), platform.machine()
    )
    return socket.gethostname(), architecture


@contextlib.contextmanager
def running_etcd(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """etcd while inside, ended in order after; killed with this process."""
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, preexec_fn=die_with_parent
            )
    except FileNotFoundError as error:
        raise FailedPrecondition(
            f"{command[0]} not found: apt-get install etcd-server (needed by managers)"
        ) from error
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(ETCD_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def answers(client: EtcdClient, process: subprocess.Popen[bytes]) -> None:
    """Return once etcd answers. Raises Unavailable when it ended."""
    while True:
        if process.poll() is not None:
            raise Unavailable(f"etcd ended with {process.returncode} while starting")
        with contextlib.suppress(Unavailable):
            await client.status()
            return


def _reason(log: Path) -> str:
    """What etcd's log says of a start that failed, in short."""
    text = log.read_text(errors="replace") if log.exists() else ""
    if "no space left on device" in text:
        return f": no space left on the disk of {log.parent.parent}"
    return f"; see {log}"


class _Made:
    """The first certificate and the first objects."""

    def __init__(
        self, request: Mapping[str, Any], node_id: str, advertise: str, scratch: Paths
    ) -> None:
        from . import settings

        root = settings.authority(request)
        self.node_id, self.advertise = node_id, advertise
        self.cluster = settings.cluster(request, root)
        self.availability = settings.availability(request)
        self.store_keys_file = scratch.store_keys_file
        self.certificates = scratch.certificates_dir

    async def certify(self) -> None:
        """By the root's key, or by the external CA that has it. Raises Unavailable."""
        from swarmlite.manager.ca import issuing
        from swarmlite.manager.ca.root import MANAGER, Subject, new_request

        host = addresses.split(self.advertise, "--advertise-addr")[0]
        subject = Subject(self.node_id, MANAGER, self.cluster.id, (host,))
        key, csr = new_request()
        certificate = await issuing.issue(self.cluster, csr, subject)
        roots = self.cluster.root_ca.ca_cert
        make_certificates(self.certificates, roots=roots, key=key, certificate=certificate)

    async def write(self, client: EtcdClient, data_path: str, *, embedded: bool) -> None:
        """The cluster, this node and the ingress network, in one transaction."""
        from swarmlite.manager.ca.service import new_node
        from swarmlite.manager.store.api import Object, Put
        from swarmlite.manager.store.etcd import open_store
        from swarmlite.manager.store.sealing import StoreKey, StoreKeys
        from swarmlite.manager.storekeys import save
        from swarmlite.network.own_routes import own_routes
        from swarmlite.proto.types_pb2 import NodeRole

        from . import settings

        node = new_node(self.node_id, NodeRole.MANAGER)
        node.spec.availability = self.availability
        node.manager_status.addr = self.advertise
        node.description.hostname, architecture = hostname_and_platform()
        node.description.platform.architecture = architecture
        node.description.platform.os = "linux"
        node.description.data_path_addr = data_path
        with contextlib.suppress(OSError):  # the ingress network's subnet is chosen beside them
            node.description.routes.extend(own_routes())
        objects: list[Object] = [self.cluster, node, settings.ingress(self.cluster)]
        keys = StoreKeys([StoreKey.new()])
        save(self.store_keys_file, keys)
        async with asyncio.timeout(ETCD_START_S), open_store(client, keys) as store:
            if embedded:
                members = await client.members()
                node.manager_status.etcd_member_id = f"{members[0].ID:x}"
            await store.commit([Put(thing) for thing in objects])

    def identity(
        self,
        listen: str,
        data_path: str,
        member: Mapping[str, str] | None,
        external: externaletcd.External | None,
    ) -> NodeIdentity:
        """What node.json is to say."""
        return NodeIdentity(
            node_id=self.node_id,
            cluster_id=self.cluster.id,
            role=MANAGER,
            hostname=socket.gethostname(),
            advertise_addr=self.advertise,
            listen_addr=listen,
            data_path_addr=data_path,
            data_path_port=self.cluster.vxlan_udp_port,
            managers=(self.advertise,),
            **store_of(member, external),
        )


def store_of(
    member: Mapping[str, str] | None, external: externaletcd.External | None
) -> dict[str, Any]:
    """What node.json says of where a manager's store is."""
    if member is not None:
        endpoint = etcdcmd.client_endpoint(member)
        return {"etcd": dict(member), "etcd_endpoints": (endpoint,)}
    assert external is not None
    return {
        "etcd": None,
        "etcd_endpoints": external.endpoints,
        "external_etcd": external.as_identity(),
    }


if __name__ == "__main__":
    os.umask(0o077)
    oneshot.main(init)
