"""Replicated services: slots from 1, as many as desired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from swarmlite.model.replicas import desired_replicas
from swarmlite.model.task_states import RUNNING

from ..updater import advance
from .places import Key, Place, sort_place, sort_places
from .rebalancing import rebalance
from .turn import Turn


def reconcile(turn: Turn) -> None:
    """Bring the number of filled slots to what is desired, then see to each."""
    wanted = desired_replicas(turn.service)
    if turn.service.spec.stopped:
        turn.stop()
        advance(turn, [])
        rebalance(turn, [])
        return
    tasks = turn.view.tasks.of_service(turn.service.id)
    places = sort_places(tasks, turn.view, turn.leaving)
    filled = [place for place in places.values() if place.filled]
    given_up = {victim.key: victim for victim in victims(filled, len(filled) - wanted)}
    for victim in given_up.values():
        if turn.spent:
            return
        turn.remove(victim.tasks)
    filled = [place for place in filled if place.key not in given_up]
    filled.sort(key=lambda place: int(place.key))
    for place in filled:
        if place.desired and (not as_desired(place) or turn.leaving(place.live[0])):
            if turn.spent:
                return
            turn.settle(place)
    slots = free_slots((place.key for place in filled), wanted - len(filled))
    for number, slot in enumerate(slots):
        if turn.spent:
            turn.unfilled = slots[number:]
            return
        place = places.get(slot) or Place(slot, [])
        turn.fill(slot, place.tasks)
    advance(turn, filled)
    rebalance(turn, filled)


def go_on(turn: Turn, slots: Sequence[int]) -> None:
    """Fill more of the slots that a turn before left, without looking at all the others again.

    It holds as long as nothing but those new tasks made the service dirty.
    """
    view, service_id = turn.view, turn.service.id
    for number, slot in enumerate(slots):
        if turn.spent:
            turn.unfilled = slots[number:]
            return
        tasks = view.tasks.of_place((service_id, slot)).values()
        if not tasks or not sort_place(slot, tasks, view, turn.leaving).filled:
            turn.fill(slot, tasks)
    turn.cut_short = True  # a whole turn has the last word


def as_desired(place: Place) -> bool:
    """Whether the place holds one task and nothing is to be done about it."""
    return len(place.live) == 1 and not place.lost and place.live[0].desired_state == RUNNING


def victims(filled: Sequence[Place], count: int) -> list[Place]:
    """The slots to give up: from the busiest nodes, then not running, then the highest."""
    if count <= 0:
        return []
    ranked = sorted(filled, key=lambda p: (not p.running, int(p.key)))
    seen: Counter[str] = Counter()
    nth_on_node: dict[Key, int] = {}
    for place in ranked:
        node_id = place.node_id
        if node_id:
            nth_on_node[place.key] = seen[node_id]
            seen[node_id] += 1
    unplaced = max(seen.values(), default=0)
    ranked.sort(key=lambda p: nth_on_node.get(p.key, unplaced))
    return ranked[-count:][::-1]


def free_slots(taken: Iterable[Key], count: int) -> list[int]:
    """The `count` lowest numbers from 1 that no filled slot has."""
    used, number = set(taken), 0
    free: list[int] = []
    while len(free) < count:
        number += 1
        if number not in used:
            free.append(number)
    return free
