"""The leader's part of a change of role: a manager is taken out of etcd before it is a worker.

The order is what keeps the quorum: first the member goes, as long as those that are left are a
majority of themselves; then the node is a worker in the store; then the CA gives it a worker's
certificate, and its daemon stops what only managers run. A promotion needs nothing of the leader:
the node asks for its certificate and adds its member itself (`node/promote.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import NodeRole, NodeStatus

from .store.api import Delete, Fence, Fenced, Put, Store
from .store.tables import Tables

log = logging.getLogger(__name__)

LOST_AFTER_S = 90.0
"""A member that was added and has not started by then is of a join that was interrupted."""


class Members(Protocol):
    """What is needed of the embedded etcd's membership; members.EtcdMembers."""

    async def remove(self, node_id: str, member_id: str = "") -> None:
        """Take the node's member out, if there is one."""

    async def unstarted(self) -> dict[str, str]:
        """Members that never started, and their peer URLs."""


def stands(view: Tables, node_id: str) -> bool:
    """Whether this manager may lead: not while it is to be a worker and another can."""
    own = view.nodes.get(node_id)
    if own is None or own.spec.desired_role == NodeRole.MANAGER:
        return True
    managers = view.nodes.managers()
    return not any(node.spec.desired_role == NodeRole.MANAGER for node in managers)


async def demote(
    members: Members | None,
    answers: Callable[[str], bool],
    store: Store,
    node_id: str,
    fence: Fence,
) -> None:
    """Make workers of the managers that are to be, one a round, while a majority is left.

    Raises Fenced when it is this manager itself: another leads from then on, and takes it out.
    """
    view = store.view
    managers = view.nodes.managers()
    for node in managers:
        if node.spec.desired_role != NodeRole.WORKER:
            continue
        if node.id == node_id:
            if not stands(view, node_id):
                log.info("giving the leadership up: this node is to be a worker")
                raise Fenced
            continue
        left = [other for other in managers if other.id != node.id]
        if sum(answers(other.id) for other in left) < len(left) // 2 + 1:
            log.info("node %s stays a manager: the quorum would be lost", node.id)
            continue
        if members is not None:
            await members.remove(node.id, node.manager_status.etcd_member_id)
        await _made_worker(store, node.id, fence)
        return


async def _made_worker(store: Store, node_id: str, fence: Fence) -> None:
    stored = store.view.nodes.get(node_id)
    if stored is None or stored.spec.desired_role != NodeRole.WORKER:
        return  # wanted again meanwhile: it adds its member again
    node = Node()
    node.CopyFrom(stored)
    node.role = NodeRole.WORKER
    node.ClearField("manager_status")
    await store.commit([Put(node)], fence)
    log.info("node %s is a worker now", node_id)


class LostLearners:
    """Members of interrupted joins: they would never vote, and let no other learner in."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, after_s: float = LOST_AFTER_S
    ) -> None:
        self._clock, self._after_s = clock, after_s
        self._since: dict[str, float] = {}

    async def look(self, members: Members, store: Store, fence: Fence) -> None:
        """Take out what has not started for long, and the node that never came to be."""
        now, unstarted = self._clock(), await members.unstarted()
        self._since = {m: self._since.get(m, now) for m in unstarted}
        for member_id, since in self._since.items():
            if now - since < self._after_s:
                continue
            log.warning("etcd member %s never started: taken out", unstarted[member_id])
            await members.remove("", member_id)
            owner = next(
                (n for n in store.view.nodes if n.manager_status.etcd_member_id == member_id), None
            )
            # A worker that is promoted has a session, and tries again.
            if owner is not None and owner.status.state == NodeStatus.UNKNOWN:
                await store.commit([Delete(owner)], fence)
