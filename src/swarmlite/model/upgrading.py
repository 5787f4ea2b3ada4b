"""Whether a cluster can go to another release now, and in which order its nodes do.

Managers first, one at a time, the leader last of them; then the workers. Releases that are one
minor version apart understand each other's messages and store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from swarmlite.errors import InvalidSpec
from swarmlite.proto.objects_pb2 import Cluster, Node, Service
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import ManagerStatus, NodeRole, NodeStatus, UpdateStatus

OLD_BACKUP = timedelta(days=1)
_VERSION = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True)
class Check:
    """What was found: whoever upgrades reads it from the top."""

    order: Sequence[Node]
    """Nodes that are of another release, in the order in which they go."""
    hindrances: Sequence[str]
    """One line each: what has to be settled first."""
    remarks: Sequence[str]
    """What is worth to know and hinders nothing."""


def check(
    cluster: Cluster,
    nodes: Iterable[Node],
    services: Iterable[Service],
    target: str,
    now: datetime,
    warnings: Iterable[str] = (),
) -> Check:
    """For an upgrade to `target`; `warnings` are of the store's health.

    Raises InvalidSpec where `target` is no release.
    """
    if not _VERSION.match(target):
        raise InvalidSpec(f"{target!r} is no release: expected one like 0.2.0")
    known = sorted(nodes, key=_turn)
    hindrances = [
        *_of_versions(known, target),
        *_of_nodes(known),
        *_of_cluster(cluster, services),
        *(f"the store: {line}" for line in warnings),
        *_of_backup(cluster, now),
    ]
    order = [node for node in known if version_of(node) != target and not node.left]
    return Check(order, hindrances, list(_remarks(known)))


def version_of(node: Node) -> str:
    """The release that a node runs, as its agent says."""
    return node.description.engine.engine_version


def _turn(node: Node) -> tuple[bool, bool, str, str]:
    worker = node.role == NodeRole.WORKER
    return worker, node.manager_status.leader, node.description.hostname, node.id


def _name(node: Node) -> str:
    return node.description.hostname or node.id


def _of_versions(nodes: Sequence[Node], target: str) -> Iterable[str]:
    wanted = _VERSION.match(target)
    for node in nodes:
        runs = _VERSION.match(version_of(node))
        if node.left or runs is None or wanted is None or runs[0] == wanted[0]:
            continue
        (major, minor), (to_major, to_minor) = (
            tuple(map(int, found.groups())) for found in (runs, wanted)
        )
        if (to_major, to_minor) < (major, minor):
            yield (
                f"{_name(node)} runs {version_of(node)}, which is newer than {target}: nobody goes"
                " back; install that release here"
            )
        elif to_major != major or to_minor > minor + 1:
            yield (
                f"{_name(node)} runs {version_of(node)}: {target} understands the release before it"
                f" only; go to {major}.{minor + 1} first"
            )


def _of_nodes(nodes: Sequence[Node]) -> Iterable[str]:
    managers = [node for node in nodes if node.role == NodeRole.MANAGER]
    for node in nodes:
        if node.left:
            continue
        if node.role != node.spec.desired_role:
            yield f"{_name(node)} is being promoted or demoted: wait for it"
        if node.role == NodeRole.MANAGER and (
            node.manager_status.reachability == ManagerStatus.UNREACHABLE
        ):
            yield (
                f"manager {_name(node)} does not answer: bring it back, or take it out (swarmlite"
                f" node rm --force {_name(node)}), so that the others have a quorum while one is"
                " away"
            )
        elif node.status.state != NodeStatus.READY:
            yield f"{_name(node)} is down: it is upgraded once it is back, or taken out"
    if len(managers) == 2:
        yield (
            "with two managers nothing can be changed while one of them is upgraded: promote a"
            " third, or go on if that does for a moment"
        )


def _of_cluster(cluster: Cluster, services: Iterable[Service]) -> Iterable[str]:
    if cluster.root_ca.HasField("rotation"):
        yield "a rotation of the CA is under way: wait for its end"
    if cluster.HasField("restored"):
        yield "the cluster was restored: settle that first (swarmlite restore --settle)"
    under_way = (UpdateStatus.UPDATING, UpdateStatus.ROLLBACK_STARTED)
    for service in services:
        if service.HasField("update_status") and service.update_status.state in under_way:
            yield f"service {service.spec.annotations.name} is being updated: wait for it"


def _of_backup(cluster: Cluster, now: datetime) -> Iterable[str]:
    if not cluster.HasField("last_backup"):
        yield "there is no backup: swarmlite backup FILE on a manager"
        return
    age = now - cluster.last_backup.ToDatetime(now.tzinfo)
    if age > OLD_BACKUP:
        yield (
            f"the last backup is {age.days} days and {age.seconds // 3600} hours old: swarmlite"
            " backup FILE on a manager"
        )


def _remarks(nodes: Sequence[Node]) -> Iterable[str]:
    for node in nodes:
        if node.spec.availability == NodeSpec.DRAIN:
            yield f"{_name(node)} is drained"
    managers = sum(node.role == NodeRole.MANAGER for node in nodes)
    if managers == 1:
        yield "with one manager nothing can be changed while it is upgraded; containers run on"
