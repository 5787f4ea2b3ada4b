"""Which nodes a service's tasks may go to."""

from __future__ import annotations

from collections.abc import Callable

from swarmlite.model import constraints, permissions
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.specs_pb2 import NodeSpec, TaskSpec
from swarmlite.proto.types_pb2 import NodeStatus


def suiting(spec: TaskSpec) -> Callable[[Node], bool]:
    """Whether a node meets the constraints, and allows what the tasks need of the host."""
    conditions = constraints.parse(spec.placement.constraints)
    needed = permissions.needed(spec.container)
    return lambda node: (
        constraints.matches(conditions, node) and not permissions.missing(needed, node)
    )


def takes_new(node: Node) -> bool:
    """Whether a global service makes a task for this node."""
    return node.status.state == NodeStatus.READY and node.spec.availability == NodeSpec.ACTIVE
