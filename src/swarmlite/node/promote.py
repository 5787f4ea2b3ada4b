"""A worker becomes a manager, as a one-shot: certificate, the store's keys, a member of etcd.

Each step is safe to repeat, and node.json comes last: until it says manager this node is a worker
like any other, and what was interrupted is done again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmlite import rpc
from swarmlite.errors import FailedPrecondition, SwarmliteError, Unavailable
from swarmlite.identity.files import Identity
from swarmlite.identity.node import MANAGER, NodeIdentity
from swarmlite.kernel import durable
from swarmlite.manager.ca.root import new_request
from swarmlite.paths import Paths
from swarmlite.proto import ca_pb2 as pb
from swarmlite.proto.ca_pb2_grpc import CAStub
from swarmlite.proto.types_pb2 import NodeRole
from swarmlite.storage import trees

from . import init, join, leave, oneshot
from .join import CALL_TIMEOUT_S


async def promote(
    paths: Paths, request: Mapping[str, Any], progress: oneshot.Progress
) -> dict[str, Any]:
    """Through whichever manager answers. Raises swarmlite's errors; the node is a worker then."""
    identity = Identity(paths)
    node = identity.read()
    if node is None or node.manager:
        raise FailedPrecondition("this node is not a worker of a swarm")
    init.check_free(node.listen_addr)
    trees.sweep(paths.etcd_dir)  # of a membership of before
    failure: SwarmliteError = Unavailable("no manager is known")
    for address in await leave.other_managers(paths, node):
        try:
            progress(f"asking {address} to make this node a manager")
            store = await _through(address, paths, identity, node, request.get("etcd_missing"))
            break
        except SwarmliteError as error:
            failure = error
    else:
        raise failure
    identity.change_role(MANAGER, **store)
    return {}


async def _through(
    address: str, paths: Paths, identity: Identity, node: NodeIdentity, etcd_missing: str | None
) -> dict[str, Any]:
    """A manager's certificate in place, and the store opened as a join does."""
    key, csr = new_request()
    request = pb.IssueNodeCertificateRequest(
        csr=csr, advertise_addr=node.advertise_addr, follow_role=True
    )
    issued = await _call(address, paths.certificates_dir, "IssueNodeCertificate", request)
    if issued.role != NodeRole.MANAGER:
        raise FailedPrecondition("the cluster does not want this node as a manager any more")
    identity.replace_certificate(key=key, certificate=issued.certificate)
    durable.remove(paths.store_keys_file, sync=False)  # of a membership of before
    return await join.opened(address, paths, node, etcd_missing)


async def _call(address: str, certificates_dir: Path, method: str, message: Any) -> Any:
    channel = rpc.secure_channel([address], certificates_dir, more=rpc.PATIENT)
    try:
        with rpc.translated(f"manager {address}"):
            return await getattr(CAStub(channel), method)(message, timeout=CALL_TIMEOUT_S)
    finally:
        await channel.close()


if __name__ == "__main__":
    os.umask(0o077)
    oneshot.main(promote)
