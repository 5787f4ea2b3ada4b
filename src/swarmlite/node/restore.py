"""`swarmlite restore`, as a one-shot on a host that is in no swarm: a manager out of a backup.

The host becomes the manager that the backup is of, as the only one, with an etcd of its own or one
that exists. Everything is made in a scratch folder and renamed into place at the end, as by `init`.
The store says from then on that it was restored: until somebody settles that, what nodes run and
the store does not know stays as it is.
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
from typing import TYPE_CHECKING, Any

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.identity.files import Identity, make_certificates
from swarmlite.identity.node import MANAGER, NodeIdentity
from swarmlite.paths import Paths
from swarmlite.storage import trees

from . import addresses, archive, externaletcd, init, oneshot
from .archive import CONTENTS, FILES, OLD_CONTENTS

if TYPE_CHECKING:
    from swarmlite.manager.store.etcd_client import EtcdClient

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
    external = externaletcd.asked(request)
    init.check_free(listen)
    folder = identity.scratch()
    try:
        unpacked = folder / "unpacked"
        unpacked.mkdir()
        progress(f"reading {path}")
        said = archive.read(path, unpacked, str(request.get("passphrase") or ""))
        saved = _saved(path, unpacked, said)
        scratch = Paths(folder, paths.run_dir)
        scratch.manager_dir.mkdir(mode=0o700)
        shutil.move(unpacked / "store.keys", scratch.store_keys_file)
        member = None if external else init.first_member(saved.node_id, advertise)
        old = unpacked / OLD_CONTENTS
        if old.exists():
            if member is None:
                raise InvalidSpec(f"{path} is of an older release: restore it without an etcd")
            _etcd_of(path, old, member, scratch.etcd_dir)
        await _certified(saved, scratch, advertise)
        # gRPC is not imported before etcd runs: a process that has used it must not fork.
        async with init.opened_etcd(request, paths, scratch, member, external, progress) as etcd:
            if not old.exists():
                from . import contents

                progress("writing the store")
                await contents.load(etcd.client, unpacked / CONTENTS)
            node = _node(saved, advertise, listen, data_path)
            node = dataclasses.replace(node, **init.store_of(member, etcd.external))
            node = await _marked(scratch, node, etcd.client, int(said.get("revision") or 0))
        trees.sweep(unpacked)
        identity.put_in_place(folder, node)
    except OSError as error:
        raise InvalidSpec(f"{path} was not restored: {error}") from error
    finally:
        trees.sweep(folder)
    return {"node_id": node.node_id, "manager_addr": advertise, **said}


def _saved(path: Path, unpacked: Path, said: Mapping[str, Any]) -> _Saved:
    try:
        names = {each.name for each in unpacked.iterdir()}
        if names not in (set(FILES), {*FILES, OLD_CONTENTS} - {CONTENTS}):
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


def _node(saved: _Saved, advertise: str, listen: str, data_path: str) -> NodeIdentity:
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
        etcd=None,
        etcd_endpoints=(),
    )


async def _certified(saved: _Saved, scratch: Paths, advertise: str) -> None:
    from swarmlite.manager.ca import issuing, rotation
    from swarmlite.manager.ca.root import MANAGER as ROLE
    from swarmlite.manager.ca.root import Subject, new_request
    from swarmlite.proto.objects_pb2 import Cluster, RootCA
    from swarmlite.proto.specs_pb2 import ClusterSpec

    cluster = Cluster(
        root_ca=RootCA.FromString(saved.root), spec=ClusterSpec.FromString(saved.spec)
    )
    host = addresses.split(advertise, "--advertise-addr")[0]
    key, csr = new_request()
    subject = Subject(saved.node_id, ROLE, saved.cluster_id, (host,))
    make_certificates(
        scratch.certificates_dir,
        roots=rotation.trusted(cluster),
        key=key,
        certificate=await issuing.issue(cluster, csr, subject),
    )


async def _marked(
    scratch: Paths, node: NodeIdentity, client: EtcdClient, revision: int
) -> NodeIdentity:
    """The store says that it was restored, and where its manager is now."""
    from swarmlite.manager import storekeys
    from swarmlite.manager.store.api import Change, Put
    from swarmlite.manager.store.etcd import open_store
    from swarmlite.model.timestamps import set_now
    from swarmlite.proto.objects_pb2 import Cluster, Node, Service

    async with (
        asyncio.timeout(init.ETCD_START_S),
        open_store(client, storekeys.load(scratch.store_keys_file)) as store,
    ):
        cluster, own = Cluster(), Node()
        found = store.view.nodes.get(node.node_id)
        if store.view.cluster is None or found is None:
            raise InvalidSpec("the backup's contents do not have the cluster")
        cluster.CopyFrom(store.view.cluster)
        own.CopyFrom(found)
        set_now(cluster.restored.at)
        cluster.restored.revision = revision or store.view.revision
        own.manager_status.addr = node.advertise_addr
        own.description.data_path_addr = node.data_path_addr
        own.manager_status.ClearField("etcd_member_id")
        if node.etcd is not None:
            members = await client.members()
            own.manager_status.etcd_member_id = f"{members[0].ID:x}"
        changes: list[Change] = [Put(cluster), Put(own)]
        await store.commit(changes)
        # What was read before is of revisions that this etcd has not come to.
        services: list[Change] = []
        for each in store.view.services:
            service = Service()
            service.CopyFrom(each)
            service.ClearField("spec_read_at")
            services.append(Put(service))
        await store.commit_many(services)
        return dataclasses.replace(node, data_path_port=cluster.vxlan_udp_port)


if __name__ == "__main__":
    os.umask(0o077)
    oneshot.main(restore)
