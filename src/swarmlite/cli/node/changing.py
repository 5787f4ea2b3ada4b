"""Changing a node's spec against the version that was read, once more when it changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from swarmlite.cli import client
from swarmlite.cli.session import Session
from swarmlite.errors import Conflict
from swarmlite.proto.control_pb2 import GetRequest, UpdateNodeRequest
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.specs_pb2 import NodeSpec

ATTEMPTS = 2


def get(session: Session, ref: str) -> Node:
    """The node of this id or hostname, or "self". Raises NotFound."""
    node: Node = client.call(session.control.GetNode, GetRequest(ref=ref))
    return node


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
