"""Moving tasks of a replicated service to nodes that have fewer of them, one at a time.

Asked for by `service rebalance`, or by a node that joins (`--rebalance on-join`). How many may be
moved is worked out once and stored, so that it ends also where the emptier nodes cannot take them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from swarmlite.model.task_states import RUNNING, SHUTDOWN
from swarmlite.proto.objects_pb2 import Service

from ..store.api import Put
from .nodes import suiting, takes_new
from .places import Place
from .turn import IN_PROGRESS, PAUSED, Turn


def rebalance(turn: Turn, places: Sequence[Place]) -> None:
    """The next move, once the last has its task running; or the end of it."""
    service = turn.service
    if not service.HasField("rebalance") or turn.changes or turn.spent:
        return
    if service.update_status.state in PAUSED:
        # What moved would come back with the spec that the update stopped at.
        _end(turn)
        return
    if service.update_status.state in IN_PROGRESS or not all(map(_is_settled, places)):
        return
    counts = _counts(turn, places)
    left = service.rebalance.moves_left if service.rebalance.begun else surplus(counts.values())
    busiest = max(counts, key=lambda node_id: (counts[node_id], node_id), default="")
    if not left or counts[busiest] - min(counts.values()) < 2:
        _end(turn)
        return
    changed = Service()
    changed.CopyFrom(service)
    changed.rebalance.begun = True
    changed.rebalance.moves_left = left - 1
    turn.changes.append(Put(changed))
    moved = max((p for p in places if p.node_id == busiest), key=lambda p: int(p.key))
    turn.fill(moved.key, moved.tasks)
    turn.set_desired(moved.live[0], SHUTDOWN)


def ask_for_moves(turn: Turn) -> bool:
    """There is a node more: have tasks moved to it. False where that is to be asked again."""
    service = turn.service
    if service.HasField("rebalance") or not service.spec.rebalance_on_join:
        return True
    if any(isinstance(change.obj, Service) for change in turn.changes):
        return False  # it is written already, and its event brings another turn
    changed = Service()
    changed.CopyFrom(service)
    changed.rebalance.SetInParent()
    turn.changes.append(Put(changed))
    return True


def _end(turn: Turn) -> None:
    changed = Service()
    changed.CopyFrom(turn.service)
    changed.ClearField("rebalance")
    turn.changes.append(Put(changed))


def _is_settled(place: Place) -> bool:
    return len(place.live) == 1 and not place.lost and place.live[0].status.state == RUNNING


def _counts(turn: Turn, places: Sequence[Place]) -> Counter[str]:
    """Tasks of the service on each node that takes them."""
    suits = suiting(turn.service.spec.task)
    able = {node.id: 0 for node in turn.view.nodes if takes_new(node) and suits(node)}
    counts = Counter(able)
    counts.update(place.node_id for place in places if place.node_id in able)
    return counts


def surplus(counts: Collection[int]) -> int:
    """How many tasks stand on nodes that have more than their part."""
    if not counts:
        return 0
    part, more = divmod(sum(counts), len(counts))
    ranked = sorted(counts, reverse=True)
    return sum(max(0, have - part - (n < more)) for n, have in enumerate(ranked))
