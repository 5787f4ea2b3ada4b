"""A node's state directory that was copied, and runs in two places: the copy is refused."""

from __future__ import annotations

from swarmlite.errors import FailedPrecondition
from swarmlite.proto.dispatcher_pb2 import Hello
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import NodeStatus


def check_place(node: Node, address: str, hello: Hello) -> None:
    """Raise FailedPrecondition for a session from elsewhere than the one that the node has.

    A host that booted again is another place at the same address; one that got another address is
    taken for itself once the node is down.
    """
    status = node.status
    if not hello.place or not status.place or status.state != NodeStatus.READY:
        return
    if hello.place == status.place or address == status.addr:
        return
    raise FailedPrecondition(
        f"node {node.id} runs at {status.addr} already: the state directory of this host is a copy"
        " of that one's. To have a node of its own here: stop swarmlited, remove the directory,"
        " start it again and join"
    )
