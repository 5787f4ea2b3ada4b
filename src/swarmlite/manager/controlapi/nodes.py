"""Nodes: what users set of them, and taking them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Protocol

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.manager.store.api import Change, Delete, Put
from swarmlite.model import defaults, task_states, units
from swarmlite.model.validate import validate_node
from swarmlite.proto.control_pb2 import (
    Empty,
    GetRequest,
    ListNodesResponse,
    ListRequest,
    RemoveNodeRequest,
    UpdateNodeRequest,
)
from swarmlite.proto.objects_pb2 import Cluster, Node, Task
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import MANAGER, ManagerStatus, NodeStatus

from .api import Api, check_version, copy_of, resolve_node
from .filters import Holds, compile_filters, has_label, one_of
from .living import Channel, lives

BLACKLIST_MARGIN = timedelta(days=7)
DRAIN_DEADLINE = timedelta(minutes=5)


def _role(node: Node, value: str) -> bool:
    return (node.role == MANAGER) == (value == "manager")


def _drain_deadline(spec: NodeSpec) -> timedelta:
    if not spec.HasField("drain_deadline"):
        return DRAIN_DEADLINE
    return timedelta(seconds=units.seconds(spec.drain_deadline))


def _membership(node: Node, value: str) -> bool:
    return NodeSpec.Membership.Name(node.spec.membership).lower() == value


FILTERS: Mapping[str, Holds[Node]] = {
    "id": lambda node, value: node.id.startswith(value),
    "name": lambda node, value: node.description.hostname.startswith(value),
    "label": lambda node, value: has_label(node.description.engine.labels, value),
    "node.label": lambda node, value: has_label(node.spec.annotations.labels, value),
    "role": _role,
    "membership": _membership,
}
READ = {
    "role": one_of("role", "manager", "worker"),
    "membership": one_of("membership", "accepted", "pending"),
}


class Members(Protocol):
    """What a removal needs of the embedded etcd's membership."""

    async def remove(self, node_id: str, member_id: str = "") -> None:
        """Take the node's member out, if there is one. Raises Unavailable without a quorum."""


class Nodes:
    """The calls on nodes."""

    def __init__(
        self,
        api: Api,
        members: Members | None = None,
        warnings: Callable[[], Iterable[str]] = tuple,
        channel: Channel | None = None,
    ) -> None:
        """`warnings`: of the store's health, as they are known; `channel` leads to a manager."""
        self._channel = channel
        self._api = api
        self._members = members
        self._warnings = warnings

    def get(self, request: GetRequest) -> Node:
        """One node; "self" is this manager's."""
        return self._as_known(resolve_node(self._api, request.ref))

    def list(self, request: ListRequest) -> ListNodesResponse:
        """Nodes that pass the filters."""
        matches = compile_filters("nodes", request.filters, FILTERS, READ)
        found = [self._as_known(n) for n in self._api.view.nodes if matches(n)]
        stale = not self._api.store.connected
        return ListNodesResponse(nodes=found, stale=stale, warnings=self._warnings())

    def _as_known(self, node: Node) -> Node:
        """Without a quorum nobody leads, and of the other managers nothing is known."""
        if self._api.store.connected or not node.HasField("manager_status"):
            return node
        copy = copy_of(node)
        copy.manager_status.leader = False
        if node.id != self._api.node_id:
            copy.manager_status.reachability = ManagerStatus.UNKNOWN
        return copy

    async def update(self, request: UpdateNodeRequest) -> Node:
        """Availability, labels, name and role. A node becomes what is desired in its own time."""
        validate_node(request.spec)
        node = copy_of(resolve_node(self._api, request.node_id))
        check_version("node", node, request.version)
        if request.spec.membership != node.spec.membership:
            raise InvalidSpec(f"node {node.id}: its membership is not changed by an update")
        drained = node.spec.availability == NodeSpec.DRAIN
        if request.spec.availability != NodeSpec.DRAIN:
            node.ClearField("drain_by")
        elif not drained or request.spec.drain_deadline != node.spec.drain_deadline:
            node.drain_by.FromDatetime(self._api.now() + _drain_deadline(request.spec))
        node.spec.CopyFrom(request.spec)
        if request.spec.desired_role == resolve_node(self._api, node.id).spec.desired_role:
            return await self._api.put(node)
        # Two demotions at a time must not take each other for those that are left.
        check = partial(_check_role, self._api.view.nodes, node)
        return await self._api.put_guarded(node, "managers", check)

    async def remove(self, request: RemoveNodeRequest) -> Empty:
        """Take a node out: its certificate is refused from now on, its tasks are orphaned.

        A manager that does not answer is taken out by force, with its member of etcd. Doing it
        again is safe: each step is left out where it is done already.
        """
        node = resolve_node(self._api, request.ref)
        await self._check_removal(node, request.force)
        if _is_manager(node) and self._members is not None:
            await self._members.remove(node.id, node.manager_status.etcd_member_id)
            node = resolve_node(self._api, node.id)
        changes: list[Change] = [Delete(node)]
        cluster = self._api.view.cluster
        if cluster is not None:
            changes.append(Put(self._blacklisted(cluster, node.id)))
        await self._api.store.commit(changes)
        tasks = list(self._api.view.tasks.of_node(node.id).values())
        await self._api.store.commit_many([c for t in tasks for c in self._orphaned(t)])
        return Empty()

    async def _check_removal(self, node: Node, force: bool) -> None:
        name = node.description.hostname or node.id
        if not _is_manager(node):
            if node.status.state == NodeStatus.READY and not force:
                raise FailedPrecondition(f"node {node.id} is not down and can't be removed")
            return
        runs = node.id == self._api.node_id or _answers(node)
        if not force and not runs:
            raise FailedPrecondition(
                f"node {name} is a cluster manager: if it is gone for good, take it out of the"
                " managers with --force"
            )
        # Not to be seen in etcd for some seconds is no death: it, and its agent, are asked.
        if runs or await lives(node, self._channel):
            raise FailedPrecondition(
                f"node {name} is a cluster manager that runs: demote it before its removal"
                f" (swarmlite node demote {name})"
            )

    def _blacklisted(self, cluster: Cluster, node_id: str) -> Cluster:
        copy, now = copy_of(cluster), self._api.now()
        lifetime = units.seconds(defaults.fill_cluster(cluster.spec).ca.node_cert_expiry)
        for other in list(copy.blacklisted_certificates):
            if copy.blacklisted_certificates[other].expiry.ToDatetime(now.tzinfo) < now:
                del copy.blacklisted_certificates[other]
        expiry = now + timedelta(seconds=lifetime) + BLACKLIST_MARGIN
        copy.blacklisted_certificates[node_id].expiry.FromDatetime(expiry)
        return copy

    def _orphaned(self, task: Task) -> Iterator[Change]:
        if task_states.is_attachment(task):
            yield Delete(task)
            return
        if task_states.is_terminal(task.status.state):
            return
        copy = copy_of(task)
        copy.status.state = task_states.ORPHANED
        copy.status.message = "node removed"
        copy.status.timestamp.FromDatetime(self._api.now())
        yield Put(copy)


def _is_manager(node: Node) -> bool:
    return node.role == MANAGER or node.spec.desired_role == MANAGER


def _check_role(nodes: Iterable[Node], node: Node) -> None:
    """Raise FailedPrecondition for a role that `node.spec` cannot ask for now."""
    if node.spec.desired_role == MANAGER:
        _check_promotion(node)
    else:
        _check_demotion(list(nodes), node)


def _check_promotion(node: Node) -> None:
    if node.status.state != NodeStatus.READY:
        raise FailedPrecondition(
            f"node {node.description.hostname or node.id} is not ready: it can be promoted once it"
            " is back"
        )


def _check_demotion(nodes: list[Node], node: Node) -> None:
    managers = [n for n in nodes if n.spec.desired_role == MANAGER and n.id != node.id]
    if not managers:
        raise FailedPrecondition("attempting to demote the last manager of the swarm")
    reachable = [n for n in managers if _answers(n)]
    if len(reachable) < len(managers) // 2 + 1:
        raise FailedPrecondition(
            f"can't demote node {node.id}: of the {len(managers)} managers left only"
            f" {len(reachable)} answer, which is not a quorum"
        )


def _answers(node: Node) -> bool:
    """Whether a manager does; that it is seen in etcd counts also while its agent starts again."""
    if node.manager_status.reachability == ManagerStatus.UNKNOWN:
        return node.status.state == NodeStatus.READY
    return node.manager_status.reachability == ManagerStatus.REACHABLE
