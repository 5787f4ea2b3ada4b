"""`swarmlite backup`, as a one-shot on a manager: what the store holds, and what opens it.

In the file: `store.kv` (consistent: one revision of etcd's; contents.py), `store.keys` (opens what
lies sealed in it) and `identity.json` (the CA, and which manager this is).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmlite import __version__
from swarmlite.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidSpec,
    SwarmliteError,
    Unavailable,
)
from swarmlite.identity.files import Identity
from swarmlite.identity.node import NodeIdentity
from swarmlite.manager import storekeys
from swarmlite.manager.store import place
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.etcd import open_store
from swarmlite.manager.store.etcd_client import Compacted
from swarmlite.model.timestamps import set_now
from swarmlite.paths import Paths
from swarmlite.proto.objects_pb2 import Cluster
from swarmlite.storage import trees

from . import archive, contents, oneshot

SCRATCH = "backup"
NOTE_S = 10.0


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
        client = place.client_of(node, paths)
        try:
            progress("reading the store")
            revision = await contents.save(client, folder / archive.CONTENTS)
            keys = storekeys.load(paths.store_keys_file)  # after it: they open all that is in it
            async with open_store(client, keys) as store:
                cluster = store.view.cluster
        except Compacted as error:
            raise Unavailable("the store changed too much meanwhile: try again") from error
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
        await _noted(node, paths, progress)
    except OSError as error:
        raise InvalidSpec(f"{target} was not written: {error.strerror}") from error
    finally:
        trees.sweep(folder)
    return {"size": target.stat().st_size, **about}


async def _noted(node: NodeIdentity, paths: Paths, progress: oneshot.Progress) -> None:
    """The cluster knows when it was saved last; a store that takes no writes was saved as well."""
    client = place.client_of(node, paths)
    try:
        async with (
            asyncio.timeout(NOTE_S),
            open_store(client, storekeys.load(paths.store_keys_file)) as store,
        ):
            cluster = Cluster()
            if store.view.cluster is not None:
                cluster.CopyFrom(store.view.cluster)
                set_now(cluster.last_backup)
                await store.commit([Put(cluster)])
    except (SwarmliteError, TimeoutError) as error:
        progress(f"the cluster does not know of this backup: {error}")
    finally:
        await client.close()


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
