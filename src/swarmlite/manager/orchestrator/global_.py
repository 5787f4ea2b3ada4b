"""Global services: one task on each node that may run it."""

from __future__ import annotations

from swarmlite.model.task_states import REMOVE, SHUTDOWN
from swarmlite.proto.specs_pb2 import NodeSpec

from ..restart import must_leave
from ..updater import advance
from .nodes import suiting, takes_new
from .places import Place, sort_places
from .turn import Turn


def reconcile(turn: Turn) -> None:
    """A task on each eligible node; none where the node does not fit or has to be left."""
    if turn.service.spec.stopped:
        turn.stop()
        advance(turn, [])
        return
    suits = suiting(turn.service.spec.task)
    places = sort_places(turn.view.tasks.of_service(turn.service.id), turn.view)
    kept: list[Place] = []
    for place in sorted(places.values(), key=lambda p: str(p.key)):
        if turn.spent:
            return
        node = turn.view.nodes.get(str(place.key))
        if node is None or must_leave(node) or not suits(node):
            give_up(turn, place)
        elif place.filled:
            turn.settle(place)
            if node.spec.availability == NodeSpec.ACTIVE:
                kept.append(place)
    for node in turn.view.nodes:
        if turn.spent:
            return
        at = places.get(node.id)
        if takes_new(node) and not (at and at.filled) and suits(node):
            turn.fill(node.id, at.tasks if at else [])
    advance(turn, kept)


def give_up(turn: Turn, place: Place) -> None:
    """End what a node should not run; its history goes too once the node is gone."""
    gone = turn.view.nodes.get(str(place.key)) is None
    for task in place.tasks:
        turn.set_desired(task, REMOVE if gone else SHUTDOWN)
