"""`swarmlite restore`, as a one-shot on a host that is in no swarm: a manager out of a backup.

The host becomes the manager that the backup is of, as the only one. Everything is made in a scratch
folder and renamed into place at the end, as by `init`. The store says from then on that it was
restored: until somebody settles that, what nodes run and the store does not know stays as it is.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmlite.errors import FailedPrecondition, InvalidSpec, Unavailable
from swarmlite.identity.files import Identity, make_certificates
from swarmlite.identity.node import MANAGER, NodeIdentity
from swarmlite.paths import Paths
from swarmlite.storage import trees

from . import addresses, archive, etcdcmd, init, oneshot
from .backup import FILES

RESTORE_S = 120


@dataclasses.dataclass(frozen=True)
class _Saved:
    """What a backup's identity.json says."""

    node_id: str
    cluster_id: str
    root: bytes
    spec: bytes


async def restore(
    paths: Paths, request: Mapping[str, Any], progress: oneshot.Progress
) -> dict[str, Any]:
    """From request["path"]. Raises FailedPrecondition in a swarm, InvalidSpec for the file or a
    flag, AlreadyExists for a port, Unavailable; then nothing has changed.
    """
    identity = Identity(paths)
    if identity.read() is not None:
        raise FailedPrecondition(init.ALREADY_IN_SWARM)
    path = Path(str(request.get("path") or ""))
    advertise, listen, data_path = addresses.advertised(request)
    init.check_free(listen)
    folder = identity.scratch()
    try:
        unpacked = folder / "unpacked"
        unpacked.mkdir()
        progress(f"reading {path}")
        said = archive.read(path, unpacked, str(request.get("passphrase") or ""))
        saved = _saved(path, unpacked, said)
        member = init.first_member(saved.node_id, advertise)
        _etcd_of(path, unpacked / "snapshot.db", member, folder / "etcd")
        (folder / "manager").mkdir(mode=0o700)
        shutil.move(unpacked / "store.keys", folder / "manager" / "store.keys")
        trees.sweep(unpacked)
        scratch = Paths(folder, paths.run_dir)
        node = _node(saved, member, advertise, listen, data_path)
        command = etcdcmd.command(
            str(request.get("etcd_binary") or "etcd"),
            member, scratch.etcd_dir, scratch.certificates_dir,
        )  # fmt: skip
        _certified(saved, scratch, advertise)
        progress("starting etcd")
        # gRPC is not imported before etcd runs: a process that has used it must not fork.
        with init.running_etcd(command, paths.logs_dir / "etcd-restore.log") as process:
            node = await _marked(scratch, node, process)
        identity.put_in_place(folder, node)
    except OSError as error:
        raise InvalidSpec(f"{path} was not restored: {error}") from error
    finally:
        trees.sweep(folder)
    return {"node_id": node.node_id, "manager_addr": advertise, **said}


def _saved(path: Path, unpacked: Path, said: Mapping[str, Any]) -> _Saved:
    try:
        if sorted(each.name for each in unpacked.iterdir()) != sorted(FILES):
            raise ValueError
        content = json.loads((unpacked / "identity.json").read_bytes())
        return _Saved(
            node_id=str(content["node_id"]),
            cluster_id=str(said["cluster_id"]),
            root=base64.b64decode(content["root"]),
            spec=base64.b64decode(content["spec"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidSpec(f"{path} lacks a part of a backup: use another copy") from error


def _etcd_of(path: Path, snapshot: Path, member: Mapping[str, str], data: Path) -> None:
    """A data directory of one member. etcd's own tool checks the snapshot's digest."""
    tool = shutil.which("etcdutl") or shutil.which("etcdctl")
    if tool is None:
        raise FailedPrecondition("etcdctl not found: apt-get install etcd-client")
    command = [
        tool, "snapshot", "restore", str(snapshot), "--data-dir", str(data),
        "--name", member["name"], "--initial-cluster", member["initial_cluster"],
        "--initial-advertise-peer-urls", member["peer_url"],
        "--initial-cluster-token", "swarmlite",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=RESTORE_S,
        env={**os.environ, "ETCDCTL_API": "3"},
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["without a reason"]
        raise InvalidSpec(f"{path} was not restored by {tool}: {lines[-1][:500]}")


def _node(
    saved: _Saved, member: Mapping[str, str], advertise: str, listen: str, data_path: str
) -> NodeIdentity:
    return NodeIdentity(
        node_id=saved.node_id,
        cluster_id=saved.cluster_id,
        role=MANAGER,
        hostname=socket.gethostname(),
        advertise_addr=advertise,
        listen_addr=listen,
        data_path_addr=data_path,
        data_path_port=0,  # the store knows it
        managers=(advertise,),
        etcd=dict(member),
        etcd_endpoints=(etcdcmd.client_endpoint(member),),
    )


def _certified(saved: _Saved, scratch: Paths, advertise: str) -> None:
    from swarmlite.manager.ca import rotation
    from swarmlite.manager.ca.issuing import life_in
    from swarmlite.manager.ca.root import MANAGER as ROLE
    from swarmlite.manager.ca.root import Subject, new_request
    from swarmlite.proto.objects_pb2 import Cluster, RootCA
    from swarmlite.proto.specs_pb2 import ClusterSpec

    cluster = Cluster(
        root_ca=RootCA.FromString(saved.root), spec=ClusterSpec.FromString(saved.spec)
    )
    root, cross_signed = rotation.signer(cluster)
    if not root.key:
        raise FailedPrecondition(
            "the backup is of a cluster whose CA is an external one: not supported yet"
        )
    host = addresses.split(advertise, "--advertise-addr")[0]
    key, csr = new_request()
    subject = Subject(saved.node_id, ROLE, saved.cluster_id, (host,))
    make_certificates(
        scratch.certificates_dir,
        roots=rotation.trusted(cluster),
        key=key,
        certificate=root.issue(csr, subject, life_in(cluster)) + cross_signed,
    )


async def _marked(
    scratch: Paths, node: NodeIdentity, process: subprocess.Popen[bytes]
) -> NodeIdentity:
    """The store says that it was restored, and where its manager is now."""
    from swarmlite.manager import storekeys
    from swarmlite.manager.store.api import Put
    from swarmlite.manager.store.etcd import open_store
    from swarmlite.manager.store.etcd_client import EtcdClient
    from swarmlite.model.timestamps import set_now
    from swarmlite.proto.objects_pb2 import Cluster, Node

    client = EtcdClient(node.etcd_endpoints, scratch.certificates_dir)
    try:
        async with asyncio.timeout(init.ETCD_START_S):
            await init.answers(client, process)
            async with open_store(client, storekeys.load(scratch.store_keys_file)) as store:
                cluster, own = Cluster(), Node()
                found = store.view.nodes.get(node.node_id)
                if store.view.cluster is None or found is None:
                    raise InvalidSpec("the backup's snapshot does not have the cluster")
                cluster.CopyFrom(store.view.cluster)
                own.CopyFrom(found)
                set_now(cluster.restored.at)
                cluster.restored.revision = store.view.revision
                own.manager_status.addr = node.advertise_addr
                own.description.data_path_addr = node.data_path_addr
                members = await client.members()
                own.manager_status.etcd_member_id = f"{members[0].ID:x}"
                await store.commit([Put(cluster), Put(own)])
                return dataclasses.replace(node, data_path_port=cluster.vxlan_udp_port)
    except TimeoutError as error:
        raise Unavailable(f"etcd did not start within {init.ETCD_START_S:.0f} s") from error
    finally:
        await client.close()


if __name__ == "__main__":
    os.umask(0o077)
    oneshot.main(restore)
