"""Where tasks of a group go: nodes in a heap, and preferences as a tree of such heaps."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

from swarmlite.model import constraints
from swarmlite.proto.types_pb2 import Placement

from .filters import Filters
from .nodes import Group, NodeInfo


class Ranking(Protocol):
    """Nodes that passed the filters, the best first."""

    def take(self) -> NodeInfo | None:
        """The node for the next task, or None when none is left. The caller places a task there
        before it calls again.
        """


class Leaf:
    """Nodes by: failed often lately, tasks of this service, tasks at all.

    Its heap changes with its own placements only, so it lives for one group.
    """

    def __init__(
        self, infos: Iterable[NodeInfo], filters: Filters, group: Group, now: float
    ) -> None:
        service_id = group[0]
        self._check_again = filters.check_again if filters.changing else None
        self._heap = [
            (
                info.fails(group, now),
                info.of_service.get(service_id, 0),
                info.total,
                info.index,
                info,
            )
            for info in infos
        ]
        heapq.heapify(self._heap)

    def take(self) -> NodeInfo | None:
        """As Ranking.take."""
        heap, check = self._heap, self._check_again
        while heap:
            fails, of_service, total, index, info = heap[0]
            if check is not None and check(info) is not None:
                heapq.heappop(heap)
                continue
            heapq.heapreplace(heap, (fails, of_service + 1, total + 1, index, info))
            return info
        return None


class Packed:
    """Nodes by: failed often lately, then the fullest one first, by what is reserved of it and by
    the tasks that it has. It only gets fuller, so it stays the first until nothing fits.
    """

    def __init__(
        self, infos: Iterable[NodeInfo], filters: Filters, group: Group, now: float
    ) -> None:
        self._check_again = filters.check_again
        self._left = sorted(
            infos,
            key=lambda info: (info.fails(group, now), info.free, -info.total, info.index),
            reverse=True,
        )

    def take(self) -> NodeInfo | None:
        """As Ranking.take."""
        while self._left:
            if self._check_again(self._left[-1]) is None:
                return self._left[-1]
            self._left.pop()
        return None


class Branch:
    """A level of preferences: the branch with the fewest tasks of the service comes first."""

    def __init__(self, branches: Sequence[tuple[int, Ranking]]) -> None:
        self._heap = [(count, n, branch) for n, (count, branch) in enumerate(branches)]
        heapq.heapify(self._heap)

    def take(self) -> NodeInfo | None:
        """As Ranking.take."""
        heap = self._heap
        while heap:
            count, n, branch = heap[0]
            info = branch.take()
            if info is not None:
                heapq.heapreplace(heap, (count + 1, n, branch))
                return info
            heapq.heappop(heap)
        return None


def rank(
    infos: Sequence[NodeInfo],
    descriptors: Sequence[str],
    filters: Filters,
    group: Group,
    now: float,
    strategy: Placement.Strategy.ValueType = Placement.SPREAD,
) -> Ranking:
    """The nodes in `infos`, spread over `descriptors` level by level."""
    if not descriptors:
        leaf = Packed if strategy == Placement.BINPACK else Leaf
        return leaf(infos, filters, group, now)
    by_value: defaultdict[str, list[NodeInfo]] = defaultdict(list)
    for info in infos:
        by_value[constraints.spread_value(info.node, descriptors[0])].append(info)
    return Branch(
        [
            (
                sum(info.of_service.get(group[0], 0) for info in members),
                rank(members, descriptors[1:], filters, group, now, strategy),
            )
            for _, members in sorted(by_value.items())
        ]
    )


class ByTotal:
    """Nodes that passed the same steady filters, by their tasks at all: for many small groups,
    whose services have no task on most nodes. Entries are corrected when they come up.
    """

    def __init__(self, infos: Iterable[NodeInfo]) -> None:
        self._heap = [(info.total, info.index, info) for info in infos]
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    def best(self, count: int, filters: Filters, group: Group, now: float) -> list[NodeInfo] | None:
        """The `count` best nodes for one new task each; None when this order cannot tell.

        The caller places a task on each.
        """
        heap = self._heap
        chosen: list[tuple[int, int, NodeInfo]] = []
        aside: list[tuple[int, int, NodeInfo]] = []
        service_id = group[0]
        while heap and len(chosen) < count:
            total, index, info = heapq.heappop(heap)
            if total != info.total:
                heapq.heappush(heap, (info.total, index, info))
            elif (
                info.of_service.get(service_id)
                or info.fails(group, now)
                or filters.check_again(info) is not None
            ):
                aside.append((total, index, info))
            else:
                chosen.append((total, index, info))
        for entry in aside:
            heapq.heappush(heap, entry)
        full = len(chosen) == count
        for total, index, info in chosen:
            heapq.heappush(heap, (total + full, index, info))
        return [info for _, _, info in chosen] if full else None
