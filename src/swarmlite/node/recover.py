"""`swarm init --force-new-cluster`, as a one-shot: a manager goes on without the others.

For a quorum that is lost for good. A copy of this manager's etcd becomes a cluster of one member by
etcd's own flag, is read to see that everything is there, and takes the place of the original in
one step: whatever fails before leaves the state as it was. The other managers stay listed until
they are removed; one that comes back is told by etcd that it is no member any more.

With an address that differs (`--advertise-addr`) the manager moves there: its member of etcd, its
certificate and its node. Workers know the old one: they join again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError, Unavailable
from swarmlite.identity.files import Identity
from swarmlite.identity.node import NodeIdentity
from swarmlite.paths import Paths
from swarmlite.storage import trees

from . import addresses, etcdcmd, init, oneshot

if TYPE_CHECKING:
    from swarmlite.manager.store.etcd import EtcdStore
    from swarmlite.proto.objects_pb2 import Cluster, Node

_OWN_FLAGS = {"op", "force_new_cluster", "etcd_binary", "only_check", "advertise_addr"}
HAS_QUORUM = (
    "the managers have a quorum, and there is nothing to recover: take managers that are gone for"
    " good out with `swarmlite node rm --force NODE`"
)


async def recover(
    paths: Paths, request: Mapping[str, Any], progress: oneshot.Progress
) -> dict[str, Any]:
    """This manager as the only one. Raises FailedPrecondition where that is not called for.

    With `only_check` nothing is done but to see whether it is, while etcd still runs.
    """
    identity = Identity(paths)
    node = _checked(identity.read(), request)
    moved = _moved(node, request)
    if request.get("only_check"):
        if await _has_quorum(paths, node):
            raise FailedPrecondition(HAS_QUORUM)
        return {}
    assert node.etcd is not None
    assert moved.etcd is not None
    member = {**moved.etcd, "initial_cluster": f"{node.node_id}={moved.etcd['peer_url']}"}
    folder = identity.scratch()
    try:
        progress("copying this manager's etcd")
        shutil.copytree(paths.etcd_dir, folder / "etcd")
        progress("making it a cluster of one")
        answer = await _alone(paths, folder / "etcd", member, request, moved)
        if moved.advertise_addr != node.advertise_addr:
            identity.replace_certificate(key=answer.key, certificate=answer.certificate)
        identity.restart_etcd_from(folder / "etcd", dataclasses.replace(moved, etcd=member))
    finally:
        trees.sweep(folder)
    return {
        "node_id": node.node_id,
        "manager_addr": moved.advertise_addr,
        "worker_token": answer.worker_token,
        "moved": moved.advertise_addr != node.advertise_addr,
    }


@dataclasses.dataclass
class _Recovered:
    worker_token: str
    key: bytes
    certificate: bytes


def _moved(node: NodeIdentity, request: Mapping[str, Any]) -> NodeIdentity:
    """The node at the address that is asked for. Raises InvalidSpec, AlreadyExists (a port)."""
    assert node.etcd is not None
    if not request.get("advertise_addr"):
        return node
    advertise, _, data_path = addresses.advertised({"advertise_addr": request["advertise_addr"]})
    if advertise == node.advertise_addr:
        return node
    host, before = (
        addresses.split(addr, "--advertise-addr")[0] for addr in (advertise, node.advertise_addr)
    )
    listens_at, port = addresses.split(node.listen_addr, "--listen-addr")
    peer = addresses.join(host, etcdcmd.PEER_PORT)
    init.check_free(peer)
    return dataclasses.replace(
        node,
        advertise_addr=advertise,
        listen_addr=addresses.join(host if listens_at == before else listens_at, port),
        data_path_addr=data_path if node.data_path_addr == before else node.data_path_addr,
        managers=(advertise,),
        etcd={**node.etcd, "peer_url": f"https://{peer}"},
    )


def _checked(node: NodeIdentity | None, request: Mapping[str, Any]) -> NodeIdentity:
    if node is None:
        raise FailedPrecondition("This node is not part of a swarm: it has no state to go on from")
    if node.external_etcd is not None:
        raise FailedPrecondition(
            f"the store is in etcd at {', '.join(node.etcd_endpoints)}, which has a quorum of its"
            " own: recover that one, and any manager that is left goes on; take those that are gone"
            " out with `swarmlite node rm --force NODE`"
        )
    if not node.manager or node.etcd is None:
        raise FailedPrecondition("--force-new-cluster works on a manager, and this is a worker")
    others = [
        key for key in request if key not in _OWN_FLAGS and request[key] is not None
    ]  # fmt: skip
    if others:
        flags = ", ".join(f"--{key.removesuffix('_s').replace('_', '-')}" for key in sorted(others))
        raise InvalidSpec(f"--force-new-cluster keeps the cluster as it is: leave out {flags}")
    return node


async def _has_quorum(paths: Paths, node: NodeIdentity) -> bool:
    from swarmlite.manager.store.etcd_client import Compacted, EtcdClient

    client = EtcdClient(node.etcd_endpoints, paths.certificates_dir)
    try:
        await client.get(b"/")  # linearizable: only a majority can answer it
    except (SwarmliteError, Compacted):
        return False
    finally:
        await client.close()
    return True


async def _alone(
    paths: Paths,
    data: Path,
    member: Mapping[str, str],
    request: Mapping[str, Any],
    moved: NodeIdentity,
) -> _Recovered:
    command = etcdcmd.command(
        str(request.get("etcd_binary") or "etcd"),
        member, data, paths.certificates_dir, ["--force-new-cluster"],
    )  # fmt: skip
    # gRPC is not imported before etcd runs: a process that has used it must not fork.
    with init.running_etcd(command, paths.logs_dir / "etcd-recover.log") as process:
        from swarmlite.manager import storekeys
        from swarmlite.manager.store.etcd import open_store
        from swarmlite.manager.store.etcd_client import EtcdClient

        client = EtcdClient([etcdcmd.client_endpoint(member)], paths.certificates_dir)
        try:
            async with asyncio.timeout(init.ETCD_START_S):
                await init.answers(client, process)
                left = await client.members()
                if len(left) != 1:
                    raise Unavailable(f"etcd still has {len(left)} members")
                async with open_store(client, storekeys.load(paths.store_keys_file)) as store:
                    cluster, own = store.view.cluster, store.view.nodes.get(member["name"])
                    if cluster is None or own is None:
                        raise FailedPrecondition(
                            "this manager's etcd does not have the cluster: it had not caught up"
                        )
                    if left[0].peerURLs != [member["peer_url"]]:
                        await client.update_member(left[0].ID, member["peer_url"])
                    return await _settled_at(moved, store, cluster, own)
        except TimeoutError as error:
            raise Unavailable(
                f"etcd did not start within {init.ETCD_START_S:.0f} s; see {paths.logs_dir}"
            ) from error
        finally:
            await client.close()


async def _settled_at(
    moved: NodeIdentity, store: EtcdStore, cluster: Cluster, own: Node
) -> _Recovered:
    """The node's object at its address, and a certificate that names it."""
    from swarmlite.manager.ca import issuing
    from swarmlite.manager.ca.root import new_request
    from swarmlite.manager.ca.service import subject_for
    from swarmlite.manager.store.api import Put

    node = type(own)()
    node.CopyFrom(own)
    node.manager_status.addr = moved.advertise_addr
    node.description.data_path_addr = moved.data_path_addr
    if node != own:
        await store.commit([Put(node)])
    key, csr = new_request()
    certificate = await issuing.issue(cluster, csr, subject_for(node, cluster))
    return _Recovered(cluster.root_ca.join_tokens.worker, key, certificate)


if __name__ == "__main__":
    os.umask(0o077)
    oneshot.main(recover)
