"""Networks whose traffic between nodes is encrypted, and which nodes can take part in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from swarmlite.proto.objects_pb2 import Network, Node
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.proto.types_pb2 import NodeStatus

OPTION = "encrypted"
"""Of a network's driver; without a value, or true, it is encrypted."""
VALUES = ("", "true", "false", "1", "0")
KEY_BYTES = 32


def wanted(spec: NetworkSpec) -> bool:
    """Whether a network is to be encrypted."""
    return spec.driver.options.get(OPTION, "false").lower() not in ("false", "0")


def is_encrypted(network: Network | None) -> bool:
    """Whether what a network carries between nodes is encrypted."""
    return network is not None and wanted(network.spec)


def hindrance(node: Node) -> str:
    """Why a node cannot take part in an encrypted network; empty where it can."""
    said = node.description.encryption
    if len(said.public_key) == KEY_BYTES and said.port:
        return ""
    return said.reason or "its release does not encrypt"


def claims(node: Node) -> tuple[str | bytes, ...]:
    """What no second node may have inside: a node's data path address and its public key."""
    if hindrance(node) or not node.description.data_path_addr:
        return ()
    return node.description.data_path_addr, node.description.encryption.public_key


def precedence(node: Node) -> tuple[Any, ...]:
    """The least of those that claim the same keeps it: the first, and none that is down."""
    since, made = node.place_since, node.meta.created_at
    return (
        node.status.state == NodeStatus.DOWN,
        not node.HasField("place_since"),
        (since.seconds, since.nanos),
        (made.seconds, made.nanos),
        node.id,
    )


def displaced(nodes: Iterable[Node]) -> dict[str, str]:
    """Nodes (ids) whose address or key another had first, and why they cannot take part."""
    holders: dict[str | bytes, Node] = {}
    found = {}
    for node in sorted(filter(claims, nodes), key=precedence):
        for claim in claims(node):
            holder = holders.setdefault(claim, node)
            if holder is not node:
                name = holder.description.hostname or holder.id
                found[node.id] = f"its data path address or its key is node {name}'s"
    return found
