"""`swarm init --force-new-cluster`, as a one-shot: a manager goes on without the others.

For a quorum that is lost for good. A copy of this manager's etcd becomes a cluster of one member by
etcd's own flag, is read to see that everything is there, and takes the place of the original in
one step: whatever fails before leaves the state as it was. The other managers stay listed until
they are removed; one that comes back is told by etcd that it is no member any more.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError, Unavailable
from swarmlite.identity.files import Identity
from swarmlite.identity.node import NodeIdentity
from swarmlite.paths import Paths
from swarmlite.storage import trees

from . import etcdcmd, init, oneshot

_OWN_FLAGS = {"op", "force_new_cluster", "etcd_binary", "only_check"}
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
    if request.get("only_check"):
        if await _has_quorum(paths, node):
            raise FailedPrecondition(HAS_QUORUM)
        return {}
    assert node.etcd is not None
    member = {**node.etcd, "initial_cluster": f"{node.node_id}={node.etcd['peer_url']}"}
    folder = identity.scratch()
    try:
        progress("copying this manager's etcd")
        shutil.copytree(paths.etcd_dir, folder / "etcd")
        progress("making it a cluster of one")
        answer = await _alone(paths, folder / "etcd", member, request)
        identity.restart_etcd_from(folder / "etcd", member)
    finally:
        trees.sweep(folder)
    return {"node_id": node.node_id, "manager_addr": node.advertise_addr, **answer}


def _checked(node: NodeIdentity | None, request: Mapping[str, Any]) -> NodeIdentity:
    if node is None:
        raise FailedPrecondition("This node is not part of a swarm: it has no state to go on from")
    if not node.manager or node.etcd is None:
        raise FailedPrecondition("--force-new-cluster works on a manager, and this is a worker")
    others = [
        key for key in request
        if key not in _OWN_FLAGS and request[key] not in (None, node.advertise_addr)
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
    paths: Paths, data: Path, member: Mapping[str, str], request: Mapping[str, Any]
) -> dict[str, Any]:
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
                    cluster = store.view.cluster
                    if cluster is None or store.view.nodes.get(member["name"]) is None:
                        raise FailedPrecondition(
                            "this manager's etcd does not have the cluster: it had not caught up"
                        )
                    return {"worker_token": cluster.root_ca.join_tokens.worker}
        except TimeoutError as error:
            raise Unavailable(
                f"etcd did not start within {init.ETCD_START_S:.0f} s; see {paths.logs_dir}"
            ) from error
        finally:
            await client.close()


if __name__ == "__main__":
    os.umask(0o077)
    oneshot.main(recover)
