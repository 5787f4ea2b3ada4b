"""One step of a service's update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from swarmlite.model.names import short_task_name
from swarmlite.model.task_states import ASSIGNED, SHUTDOWN
from swarmlite.model.units import seconds as duration_s
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.types_pb2 import UpdateConfig, UpdateStatus

from ..dependencies import waiting_for
from ..store.api import Put
from ..times import stamp
from .progress import NEVER, Progress, is_outdated, measure

if TYPE_CHECKING:
    from ..orchestrator.places import Place
    from ..orchestrator.turn import Turn

IN_PROGRESS = (UpdateStatus.UPDATING, UpdateStatus.ROLLBACK_STARTED)
UNPLACED = "; waiting for a node: "
WAITS = "; waiting for "
CANARIES = "; canary: "
MAX_NAMED = 5
STOPPED = (UpdateStatus.PAUSED, UpdateStatus.ROLLBACK_PAUSED)


def advance(turn: Turn, places: Sequence[Place]) -> None:
    """Start, carry on, stop or finish the update of `turn`'s service."""
    state = turn.service.update_status.state
    if state in STOPPED:
        return
    if state not in IN_PROGRESS:
        if any(is_outdated(turn, place) for place in places):
            _start(turn)
        return
    progress = measure(turn, places)
    if _stop_when_failing(turn, progress):
        return
    waits = waiting_for(turn.service.spec, turn.view) if progress.outdated else ""
    if _stands_at_canaries(turn, progress):
        return
    if not waits:
        _replace(turn, progress)
    if progress.outdated or progress.in_flight or progress.unplaced:
        _say_unplaced(turn, progress, waits)
        if progress.next_at != NEVER:
            turn.later(progress.next_at)
        return
    _finish(turn, progress)


def _start(turn: Turn) -> None:
    # Nothing is replaced before this is stored: what is created later is the update's.
    changed = _copy(turn)
    changed.update_status.Clear()
    changed.update_status.state = UpdateStatus.UPDATING
    changed.update_status.message = "update in progress"
    stamp(changed.update_status.started_at, turn.now)
    turn.changes.append(Put(changed))


def _stands_at_canaries(turn: Turn, progress: Progress) -> bool:
    """Whether the canaries are updated, and the rest waits for their promotion."""
    count = progress.canaries
    if not count or not progress.outdated or progress.updated < count:
        return False
    if progress.in_flight or progress.unplaced:
        _say_unplaced(turn, progress, "")
        if progress.next_at != NEVER:
            turn.later(progress.next_at)
        return True
    at = progress.last_settled + duration_s(turn.config.monitor)
    if not turn.config.canary_by_hand and at <= turn.now:
        changed = _copy(turn)
        changed.update_status.promoted = True
        changed.update_status.message = "update in progress"
        turn.changes.append(Put(changed))
        return True
    if not turn.config.canary_by_hand:
        turn.later(at)
    who = "`service promote`" if turn.config.canary_by_hand else "the end of their monitoring"
    said = f"{CANARIES}{progress.updated} of {progress.updated + len(progress.outdated)} replicas"
    message = turn.service.update_status.message.partition(CANARIES)[0].partition(UNPLACED)[0]
    message += f"{said} updated, the rest waits for {who}"
    if message != turn.service.update_status.message:
        changed = _copy(turn)
        changed.update_status.message = message
        turn.changes.append(Put(changed))
    return True


def _replace(turn: Turn, progress: Progress) -> None:
    """Replace as many outdated places as may be in flight at a time.

    A place whose new task finds no node is none of them: what waits for a node must not keep the
    others from being updated. But while no node at all took a task of the new spec, stopping one
    running task after the other would take the service down, so there it counts.
    """
    config = turn.config
    if progress.canaries:
        left = max(0, progress.canaries - progress.updated)
        progress.outdated.sort(key=lambda place: not _is_placed(place))
        outdated = progress.outdated[:left]
    else:
        outdated = progress.outdated
    idle = [place for place in outdated if not _is_placed(place)]
    for place in idle:
        # Nothing runs there: first, lest the room that others leave go to the old spec.
        if turn.spent:
            return
        turn.fill(place.key, place.tasks)
        for task in place.live:
            turn.set_desired(task, SHUTDOWN)
    waiting = [place for place in outdated if _is_placed(place)]
    in_flight = progress.in_flight
    if config.order == UpdateConfig.STOP_FIRST and not progress.placed:
        in_flight += progress.risky
    count = len(waiting) if config.parallelism == 0 else max(0, config.parallelism - in_flight)
    for place in waiting[:count]:
        if turn.spent:
            return
        replace_place(turn, place, config)


def _is_placed(place: Place) -> bool:
    """Whether a task of it has a node, or ended there."""
    return not place.live or any(t.status.state >= ASSIGNED for t in place.live)


def _say_unplaced(turn: Turn, progress: Progress, waits: str) -> None:
    """The status names the places that wait for a node, and why the first of them does; or the
    service that all of them wait for.
    """
    message = turn.service.update_status.message.partition(UNPLACED)[0].partition(WAITS)[0]
    if waits:
        message += f"; {waits}"
    tasks = progress.unplaced
    if tasks:
        named = sorted(map(short_task_name, tasks), key=lambda name: (len(name), name))
        more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
        names = ", ".join(named[:MAX_NAMED])
        message += f"{UNPLACED}{names}{more}: {tasks[0].status.err}"
    if message != turn.service.update_status.message:
        changed = _copy(turn)
        changed.update_status.message = message
        turn.changes.append(Put(changed))


def replace_place(turn: Turn, place: Place, config: UpdateConfig) -> None:
    """A new task for a place: after the outdated one has stopped, or before it stops."""
    if config.order == UpdateConfig.START_FIRST and place.live:
        turn.create(place.key)
        return
    turn.fill(place.key, place.tasks)
    for task in place.live:
        turn.set_desired(task, SHUTDOWN)


def _stop_when_failing(turn: Turn, progress: Progress) -> bool:
    """Pause or roll back once too many places failed; answer whether it did."""
    config = turn.config
    if not progress.failed or progress.failure_ratio <= config.max_failure_ratio:
        return False
    if config.failure_action == UpdateConfig.CONTINUE:
        return False
    rolling_back = turn.service.update_status.state == UpdateStatus.ROLLBACK_STARTED
    reason = f"due to failure or early termination of task {progress.failed[0]}"
    changed = _copy(turn)
    status = changed.update_status
    if rolling_back:
        # A rollback is never rolled back.
        status.state, status.message = UpdateStatus.ROLLBACK_PAUSED, f"rollback paused {reason}"
    elif config.failure_action == UpdateConfig.ROLLBACK and changed.HasField("previous_spec"):
        _roll_back(changed, f"update rolled back {reason}", turn.now)
    else:
        status.state, status.message = UpdateStatus.PAUSED, f"update paused {reason}"
    turn.changes.append(Put(changed))
    return True


def _roll_back(service: Service, message: str, now: float) -> None:
    # A version is never used twice: tasks of the old spec are recognised by their content.
    newest = max(service.spec_version.index, service.previous_spec_version.index)
    service.spec.CopyFrom(service.previous_spec)
    service.spec_read_at.CopyFrom(service.meta.version)
    service.spec_version.index = newest + 1
    service.ClearField("previous_spec")
    service.ClearField("previous_spec_version")
    service.update_status.state = UpdateStatus.ROLLBACK_STARTED
    service.update_status.message = message
    stamp(service.update_status.started_at, now)


def _finish(turn: Turn, progress: Progress) -> None:
    """Watch the last places for a while, then call it done."""
    config = turn.config
    monitor_s, delay_s = duration_s(config.monitor), duration_s(config.delay)
    done_at = progress.last_settled + max(monitor_s, delay_s + 1.0 if delay_s else 0.0)
    if progress.updated and done_at > turn.now:
        turn.later(done_at)
        return
    changed = _copy(turn)
    status = changed.update_status
    if status.state == UpdateStatus.ROLLBACK_STARTED:
        status.state, status.message = UpdateStatus.ROLLBACK_COMPLETED, "rollback completed"
    else:
        status.state, status.message = UpdateStatus.COMPLETED, "update completed"
    stamp(status.completed_at, turn.now)
    turn.changes.append(Put(changed))


def _copy(turn: Turn) -> Service:
    changed = Service()
    changed.CopyFrom(turn.service)
    return changed
