"""Changing a node's spec against the version that was read, once more when it changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from swarmlite.cli import client
from swarmlite.cli.session import Session
from swarmlite.cli.swarm.values import warn_of_quorum
from swarmlite.errors import Conflict
from swarmlite.proto.control_pb2 import (
    GetRequest,
    ListNodesResponse,
    ListRequest,
    UpdateNodeRequest,
)
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import MANAGER

ATTEMPTS = 2


def get(session: Session, ref: str) -> Node:
    """The node of this id or hostname, or "self". Raises NotFound."""
    node: Node = client.call(session.control.GetNode, GetRequest(ref=ref))
    return node


def warn_of_managers(session: Session) -> None:
    """Say it where the swarm is to have two managers, and so none to spare."""
    reply: ListNodesResponse = client.call(session.control.ListNodes, ListRequest())
    warn_of_quorum(sum(node.spec.desired_role == MANAGER for node in reply.nodes))


def change(session: Session, ref: str, edit: Callable[[NodeSpec], bool]) -> bool:
    """Edit the spec in place and write it; `edit` answers whether there was anything to change."""
    for attempt in range(ATTEMPTS):
        node = get(session, ref)
        if not edit(node.spec):
            return False
        request = UpdateNodeRequest(node_id=node.id, version=node.meta.version, spec=node.spec)
        try:
            client.call(session.control.UpdateNode, request)
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
        else:
            break
    return True
