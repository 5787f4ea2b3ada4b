"""Whose place on the ingress network which node has to know: not every node every other's.

A node leads connections to the nodes that have tasks there, so it has to know those, and the
managers, whose ports it keeps its containers from. A node that has such tasks gets connections from
all nodes, so it has to know all. With a fixed number of tasks what all are told grows with the
number of nodes, and not with its square. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Set

from swarmlite.proto.dispatcher_pb2 import Endpoint
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import NodeRole


def node_of(endpoint_id: str) -> str:
    """The node whose own endpoint it is; empty for a task's."""
    _, _, rest = endpoint_id.partition("/")
    kind, _, node_id = rest.partition("/")
    return node_id if kind == "node" else ""


def place_id(network_id: str, node_id: str) -> str:
    """The id of a node's own endpoint on a network."""
    return f"{network_id}/node/{node_id}"


class Standing:
    """Which nodes have tasks on the ingress network, and which are managers."""

    def __init__(self) -> None:
        self._tasks: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By network and node; who joins asks for the nodes of one network."""
        self._managers: set[str] = set()
        self.ingress_id = ""

    def knows_all(self, node_id: str) -> bool:
        """Whether the node has to know every node's place."""
        return node_id in self.knowing_all()

    def known_to_all(self, node_id: str) -> bool:
        """Whether every node has to know its place."""
        return self.knows_all(node_id) or node_id in self._managers

    def knowing_all(self) -> Set[str]:
        """The nodes that have to know every node's place."""
        return self._tasks[self.ingress_id].keys()

    def places_for_all(self) -> set[str]:
        """The nodes whose places every node has to know."""
        return self._managers | self.knowing_all()

    def take_node(self, node_id: str, node: Node | None) -> None:
        """A node came, changed or (None) went."""
        manager = node is not None and NodeRole.MANAGER in (node.role, node.spec.desired_role)
        (self._managers.add if manager else self._managers.discard)(node_id)

    def count(self, endpoint: Endpoint, step: int) -> None:
        """A task's endpoint came (1) or went (-1)."""
        if endpoint.task_id:
            nodes = self._tasks[endpoint.network_id]
            nodes[endpoint.node_id] += step
            if not nodes[endpoint.node_id]:
                del nodes[endpoint.node_id]
            if not nodes:
                del self._tasks[endpoint.network_id]


class IngressChanges:
    """What one flush means for nodes' knowledge of each other: what was, and what is now."""

    def __init__(self, standing: Standing) -> None:
        self._now = standing
        self._before: dict[str, tuple[bool, bool]] = {}

    def note(self, node_id: str) -> None:
        """Something may change for the node: remember how it stood."""
        standing = self._now.knows_all(node_id), self._now.known_to_all(node_id)
        self._before.setdefault(node_id, standing)

    def _stood(self, node_id: str) -> tuple[bool, bool]:
        now = self._now
        return self._before.get(node_id) or (now.knows_all(node_id), now.known_to_all(node_id))

    def knew(self, node_id: str, other: str) -> bool:
        """Whether a node knew another's place."""
        return node_id == other or self._stood(node_id)[0] or self._stood(other)[1]

    def knows(self, node_id: str, other: str) -> bool:
        """Whether it has to know it now."""
        now = self._now
        return node_id == other or now.knows_all(node_id) or now.known_to_all(other)

    def regrouped(self) -> frozenset[str]:
        """Nodes that all have to know now, or no longer."""
        return frozenset(
            i for i, (_, was) in self._before.items() if was != self._now.known_to_all(i)
        )

    def concerned(self, nodes: Set[str], fresh: Iterable[str]) -> Set[str]:
        """Those of `nodes` that may have to hear of places whose content changed, or forget some.

        Of nearly every node's place only the few that know all: no look at each of the others.
        """
        others = set(map(node_of, fresh))
        if self.regrouped() or any(self._stood(i)[1] or self._now.known_to_all(i) for i in others):
            return nodes
        return nodes & (others | self._before.keys() | self._now.knowing_all())

    def learns(self, node_id: str) -> bool:
        """Whether it has to know all now, or no longer."""
        return self._stood(node_id)[0] != self._now.knows_all(node_id)


def all_of(
    standing: Standing,
    node_id: str,
    endpoints: Mapping[str, Endpoint],
    tasks: Mapping[str, Endpoint],
) -> list[Endpoint]:
    """What a node that knows nothing yet is to know. `tasks`: those of `endpoints` that are."""
    if standing.knows_all(node_id):
        return list(endpoints.values())
    places = (place_id(standing.ingress_id, i) for i in {node_id} | standing.places_for_all())
    return [*tasks.values(), *(endpoints[i] for i in sorted(places) if i in endpoints)]


def difference(
    changes: IngressChanges,
    node_id: str,
    endpoints: Mapping[str, Endpoint],
    fresh: Collection[str],
    regrouped: Collection[str],
) -> tuple[list[Endpoint], list[str]]:
    """Nodes' places that a node has to hear of, and ids of those that it has to forget.

    `fresh`: ids of those whose content changed; `regrouped`: of nodes that all know from now on, or
    no longer.
    """
    updates, removals = [], []
    considered = {*fresh, *regrouped}
    if changes.learns(node_id):
        considered.update(i for i in endpoints if node_of(i))
    for endpoint_id in sorted(considered):
        other = node_of(endpoint_id)
        endpoint, knew = endpoints.get(endpoint_id), changes.knew(node_id, other)
        if endpoint is not None and changes.knows(node_id, other):
            if endpoint_id in fresh or not knew:
                updates.append(endpoint)
        elif knew:
            removals.append(endpoint_id)
    return updates, removals
