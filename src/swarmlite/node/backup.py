"""`swarmlite backup`, as a one-shot on a manager: etcd's own snapshot, and what opens it.

In the file: `snapshot.db` (consistent: one revision of etcd's), `store.keys` (opens what lies
sealed in it) and `identity.json` (the CA, and which manager this is).
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmlite import __version__
from swarmlite.errors import AlreadyExists, FailedPrecondition, InvalidSpec, Unavailable
from swarmlite.identity.files import Identity
from swarmlite.manager import storekeys
from swarmlite.manager.store.etcd import open_store
from swarmlite.manager.store.etcd_client import EtcdClient
from swarmlite.paths import Paths
from swarmlite.proto.objects_pb2 import Cluster
from swarmlite.storage import trees

from . import archive, oneshot

FILES = ("snapshot.db", "store.keys", "identity.json")
SCRATCH = "backup"


async def backup(
    paths: Paths, request: Mapping[str, Any], progress: oneshot.Progress
) -> dict[str, Any]:
    """To request["path"], sealed by request["passphrase"] if there is one.

    Raises FailedPrecondition on a worker, AlreadyExists, InvalidSpec, Unavailable.
    """
    node = Identity(paths).read()
    if node is None or not node.manager:
        raise FailedPrecondition("this node is not a swarm manager, and has nothing to back up")
    target = Path(str(request.get("path") or ""))
    if not target.is_absolute():
        raise InvalidSpec(f"{target}: expected an absolute path")
    if target.exists() and not request.get("force"):
        raise AlreadyExists(f"{target} exists: choose another name, or --force")
    folder = paths.state_dir / SCRATCH
    trees.sweep(folder)
    folder.mkdir(mode=0o700)
    try:
        client = EtcdClient(node.etcd_endpoints, paths.certificates_dir)
        try:
            progress("taking a snapshot of the store")
            await client.snapshot(folder / "snapshot.db")
            keys = storekeys.load(paths.store_keys_file)  # after it: they open all that is in it
            async with open_store(client, keys) as store:
                cluster, revision = store.view.cluster, store.view.revision
        finally:
            await client.close()
        if cluster is None:
            raise Unavailable("this manager does not know its cluster yet")
        (folder / "store.keys").write_bytes(storekeys.encoded(keys))
        (folder / "identity.json").write_text(json.dumps(_identity(node.node_id, cluster)))
        about = {
            "cluster_id": cluster.id,
            "made": int(time.time()),
            "version": __version__,
            "revision": revision,
        }
        progress(f"writing {target}")
        archive.write(target, about, folder, str(request.get("passphrase") or ""))
    except OSError as error:
        raise InvalidSpec(f"{target} was not written: {error.strerror}") from error
    finally:
        trees.sweep(folder)
    return {"size": target.stat().st_size, **about}


def _identity(node_id: str, cluster: Cluster) -> dict[str, str]:
    authority = cluster.root_ca
    return {
        "node_id": node_id,
        "root": base64.b64encode(authority.SerializeToString()).decode(),
        "spec": base64.b64encode(cluster.spec.SerializeToString()).decode(),
    }


if __name__ == "__main__":
    os.umask(0o077)
    oneshot.main(backup)
