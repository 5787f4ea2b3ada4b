"""`swarm leave`, as a one-shot: tells the managers. The daemon then stops and removes what is here.

A worker whose managers are all gone leaves anyway; they find it DOWN by themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from swarmlite import rpc
from swarmlite.errors import FailedPrecondition, SwarmliteError
from swarmlite.identity.files import Identity
from swarmlite.identity.lock import KeyLock
from swarmlite.identity.node import NodeIdentity
from swarmlite.manager.store import place
from swarmlite.manager.store.etcd_mirror import PREFIX
from swarmlite.paths import Paths
from swarmlite.proto.ca_pb2 import LeaveClusterRequest
from swarmlite.proto.ca_pb2_grpc import CAStub
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.control_pb2_grpc import ControlStub

from . import oneshot

CALL_TIMEOUT_S = 5.0
MEMBER_TIMEOUT_S = 20.0
"""Of a manager that leaves: etcd takes a change of its members only when it is settled."""
NOT_IN_SWARM = "This node is not part of a swarm"
MANAGER_WARNING = (
    "You are attempting to leave the swarm on a node that is participating as a manager. {why}"
    " Use `--force` to suppress this message."
)
LAST_MANAGER = (
    "Removing the last manager erases all current state of the swarm: services, secrets and"
    " configs are lost, and the workers belong to no cluster any more."
)
ONE_OF_MANAGERS = (
    "Removing this node leaves {left} managers, and the cluster needs more than half of them:"
    " demote it first to be sure that it goes on."
)


async def leave(
    paths: Paths, request: Mapping[str, Any], progress: oneshot.Progress
) -> dict[str, Any]:
    """Tell the cluster that this node leaves. Raises FailedPrecondition for managers unforced."""
    node = Identity(paths).read()
    if node is None:
        raise FailedPrecondition(NOT_IN_SWARM)
    manager = node.manager
    others = await other_managers(paths, node)
    if manager and not request.get("force"):
        why = ONE_OF_MANAGERS.format(left=len(others)) if others else LAST_MANAGER
        raise FailedPrecondition(MANAGER_WARNING.format(why=why))
    if not others:
        if node.external_etcd is not None and not KeyLock(paths).locked:
            await _emptied(paths, node, progress)
        return {}
    if KeyLock(paths).locked:
        progress("no manager was notified: this one is locked")
        return {}
    for address in others:
        channel = rpc.secure_channel([address], paths.certificates_dir)
        try:
            with rpc.translated(f"manager {address}"):
                await CAStub(channel).LeaveCluster(
                    LeaveClusterRequest(force=manager),
                    timeout=MEMBER_TIMEOUT_S if manager else CALL_TIMEOUT_S,
                )
            return {}
        except SwarmliteError as error:
            progress(f"{address} was not notified: {error}")
        finally:
            await channel.close()
    progress("no manager was notified: they will see this node as down")
    return {}


async def _emptied(paths: Paths, node: NodeIdentity, progress: oneshot.Progress) -> None:
    """Take the cluster's keys out of an etcd that goes on, for the next one to find it empty."""
    client = place.client_of(node, paths)
    try:
        removed = await client.delete_all(PREFIX)
        progress(f"removed {removed} keys from etcd at {', '.join(node.etcd_endpoints)}")
    except SwarmliteError as error:
        prefix = (node.external_etcd or {}).get("prefix", "") + PREFIX.decode()
        progress(f"keys stay in etcd below {prefix}: {error}")
    finally:
        await client.close()


async def other_managers(paths: Paths, node: NodeIdentity) -> list[str]:
    """The managers' addresses but this node's own, as fresh as can be had."""
    known: list[str] = []
    if node.manager:
        with contextlib.suppress(SwarmliteError):
            known = await _listed(paths)
    else:
        with contextlib.suppress(OSError, ValueError):
            learnt = json.loads((paths.agent_dir / "managers.json").read_text())
            known = [address for address in learnt if isinstance(address, str)]
    if not (node.manager and known):  # what the managers say of themselves is all there is
        known = list(dict.fromkeys([*known, *node.managers]))
    return [address for address in known if address != node.advertise_addr]


async def _listed(paths: Paths) -> list[str]:
    channel = rpc.unix_channel(paths.manager_socket)
    try:
        with rpc.translated("the manager of this node"):
            answer = await ControlStub(channel).ListNodes(ListRequest(), timeout=CALL_TIMEOUT_S)
    finally:
        await channel.close()
    return [n.manager_status.addr for n in answer.nodes if n.manager_status.addr]


if __name__ == "__main__":
    os.umask(0o077)
    oneshot.main(leave)
