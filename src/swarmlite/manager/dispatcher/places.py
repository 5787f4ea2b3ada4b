"""Which nodes keep their places inside of encrypted networks, change by change.

As `encryption.displaced` says it of all nodes at once.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from swarmlite.model import encryption
from swarmlite.proto.objects_pb2 import Node

Claim = str | bytes
Said = tuple[tuple[Any, ...], tuple[Claim, ...]]


class Places:
    """What nodes claim, and who was first."""

    def __init__(self) -> None:
        self._said: dict[str, Said] = {}
        self._claimants: defaultdict[Claim, dict[str, tuple[Any, ...]]] = defaultdict(dict)

    def holds(self, node_id: str) -> bool:
        """Whether the node's address and key are its own."""
        said = self._said.get(node_id)
        return said is not None and all(
            said[0] == min(self._claimants[claim].values()) for claim in said[1]
        )

    def take(self, node_id: str, node: Node | None) -> set[str]:
        """The node is new, changed or gone; the other nodes of which `holds` changed by that."""
        old = self._said.get(node_id)
        new = _said(node) if node is not None else None
        if old == new:
            return set()
        touched = {*(old[1] if old else ()), *(new[1] if new else ())}
        others = {other for claim in touched for other in self._claimants[claim]} - {node_id}
        before = {other for other in others if self.holds(other)}
        for claim in touched:
            self._claimants[claim].pop(node_id, None)
            if new is not None and claim in new[1]:
                self._claimants[claim][node_id] = new[0]
            if not self._claimants[claim]:
                del self._claimants[claim]
        if new is not None:
            self._said[node_id] = new
        else:
            del self._said[node_id]
        return {other for other in others if self.holds(other) != (other in before)}


def _said(node: Node) -> Said | None:
    claims = encryption.claims(node)
    return (encryption.precedence(node), claims) if claims else None
