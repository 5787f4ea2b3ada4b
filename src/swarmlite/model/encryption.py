"""Networks whose traffic between nodes is encrypted, and which nodes can take part in them."""

from __future__ import annotations

from swarmlite.proto.objects_pb2 import Network, Node
from swarmlite.proto.specs_pb2 import NetworkSpec

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
