"""Jobs: tasks that run to their end, once for each iteration of the service."""

from __future__ import annotations

from collections.abc import Iterable

from swarmlite.model.schedule import next_after
from swarmlite.model.task_states import COMPLETE, RUNNING, SHUTDOWN
from swarmlite.proto.objects_pb2 import Service, Task

from ..store.api import Put
from ..times import seconds, stamp
from .nodes import suiting, takes_new
from .places import Key, Place, sort_places
from .turn import Turn


def reconcile_replicated(turn: Turn) -> None:
    """`total_completions` slots, each to complete once, `max_concurrent` at a time."""
    if not is_to_run(turn):
        return
    job = turn.service.spec.replicated_job
    total = job.total_completions or 1
    places = current_places(turn)
    active = 0
    for place in places.values():
        if turn.spent:
            return
        if int(place.key) > total:
            turn.remove(place.tasks)
        else:
            active += see_to(turn, place)
    free = (job.max_concurrent or total) - active
    for slot in range(1, total + 1):
        if free <= 0 or turn.spent:
            return
        at = places.get(slot)
        if at is None or not (at.filled or is_complete(at)):
            turn.fill(slot, at.tasks if at else [])
            free -= 1


def reconcile_global(turn: Turn) -> None:
    """One task to complete on each node that fits, also on one that joins later."""
    if not is_to_run(turn):
        return
    suits = suiting(turn.service.spec.task)
    places = current_places(turn)
    for place in places.values():
        if turn.spent:
            return
        node = turn.view.nodes.get(str(place.key))
        if node is None or not suits(node):
            turn.remove(place.tasks)
        elif takes_new(node):
            see_to(turn, place)
        else:
            end(turn, place.lost)
    for node in turn.view.nodes:
        if turn.spent:
            return
        at = places.get(node.id)
        if takes_new(node) and suits(node) and (at is None or not (at.filled or is_complete(at))):
            turn.fill(node.id, at.tasks if at else [])


def is_to_run(turn: Turn) -> bool:
    """Whether there is a run to see to; the next one of a schedule is begun here when it is due.

    A run that is due while the one before goes on begins at its end; of several that were missed,
    one is made good.
    """
    service = turn.service
    if not service.spec.schedule:
        return True
    if service.spec.stopped:
        turn.stop()
        return False
    status = service.job_status
    last = max(turn.past(seconds(status.last_execution)), seconds(service.meta.created_at))
    due = next_after(service.spec.schedule, last)
    if due > turn.now:
        turn.later(due)
        return status.job_iteration > 0
    tasks = turn.view.tasks.of_service(service.id).values()
    if any(t.status.state <= RUNNING and t.desired_state <= RUNNING for t in tasks):
        return True
    begun = Service()
    begun.CopyFrom(service)
    begun.job_status.job_iteration += 1
    stamp(begun.job_status.last_execution, turn.now)
    turn.changes.append(Put(begun))
    return False


def current_places(turn: Turn) -> dict[Key, Place]:
    """The places of this iteration; what is left of earlier ones is removed."""
    iteration = turn.service.job_status.job_iteration
    tasks = turn.view.tasks.of_service(turn.service.id)
    turn.remove(t for t in tasks.values() if t.job_iteration.index != iteration)
    current = {i: t for i, t in tasks.items() if t.job_iteration.index == iteration}
    return sort_places(current, turn.view)


def is_complete(place: Place) -> bool:
    """Whether the place has done its part of this iteration."""
    return any(t.status.state == COMPLETE for t in place.tasks)


def see_to(turn: Turn, place: Place) -> int:
    """Restart what failed, leave what completed; answer how many tasks the place now has active."""
    if is_complete(place):
        end(turn, (t for t in place.tasks if t.desired_state <= RUNNING))
        return 0
    before = len(turn.changes)
    if place.desired:
        turn.settle(place)
    created = any(not c.obj.meta.version.index for c in turn.changes[before:])
    return 1 if place.live or created else 0


def end(turn: Turn, tasks: Iterable[Task]) -> None:
    """End tasks whose place is done or has to be left."""
    for task in tasks:
        # What an agent is to complete, it lets run on: only what has done so is desired COMPLETE.
        turn.set_desired(task, COMPLETE if task.status.state == COMPLETE else SHUTDOWN)
