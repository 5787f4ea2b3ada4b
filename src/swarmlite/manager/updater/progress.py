"""How far an update is: read from the places' tasks, without a memory of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swarmlite.model.task_states import ASSIGNED, PENDING, RUNNING
from swarmlite.model.units import seconds as duration_s
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.types_pb2 import UpdateStatus

from ..restart import ENDED_BY_ITSELF
from ..times import created, order, seconds, state_since

if TYPE_CHECKING:
    from ..orchestrator.places import Place
    from ..orchestrator.turn import Turn

NEVER = float("inf")


@dataclass
class Progress:
    """The places that an update changes."""

    outdated: list[Place] = field(default_factory=list)
    """Still to be replaced."""
    in_flight: int = 0
    """Replaced, and not RUNNING yet, or RUNNING for less than the delay."""
    unplaced: list[Task] = field(default_factory=list)
    """New tasks that no node takes, or that get no address: each says why."""
    risky: int = 0
    """Of these, how many stand where a task of the old spec ran."""
    placed: bool = False
    """Whether any new task found a node."""
    canaries: int = 0
    """How many places are updated before the rest, while they have not been promoted; 0: all."""
    updated: int = 0
    """Replaced, in flight or not."""
    failed: list[str] = field(default_factory=list)
    """One task of each place in which a new task failed within its monitored time."""
    last_settled: float = 0.0
    """When the last place had its new task RUNNING."""
    next_at: float = NEVER
    """When something of this changes by itself."""

    @property
    def failure_ratio(self) -> float:
        """Failed places among those that the update changes, or among its canaries."""
        total = len(self.outdated) + self.updated
        if self.canaries:
            total = min(total, self.canaries)
        return len(self.failed) / total if total else 0.0


def measure(turn: Turn, places: Sequence[Place]) -> Progress:
    """Look at every place of a service whose update is in progress."""
    status = turn.service.update_status
    progress = Progress(last_settled=turn.past(seconds(status.started_at)))
    if status.state == UpdateStatus.UPDATING and not status.promoted:
        progress.canaries = turn.config.canary
    for place in places:
        new = new_tasks(turn, place)
        if new:
            progress.updated += 1
            _measure_place(turn, progress, place, new)
        if is_outdated(turn, place):
            progress.updated -= bool(new)
            progress.outdated.append(place)
    return progress


def is_outdated(turn: Turn, place: Place) -> bool:
    """Whether the place waits to be replaced: nothing in it is of the desired spec.

    Where a new task was tried beside the old one and ended, the restart policy goes on trying.
    """
    if place.live:
        if not all(turn.dirty(task) for task in place.live):
            return False
        tried = any(
            t in place.lost or t.status.state in ENDED_BY_ITSELF for t in new_tasks(turn, place)
        )
        return not tried
    if place.held is not None:
        return turn.dirty(place.held)
    return False


def new_tasks(turn: Turn, place: Place) -> list[Task]:
    """The tasks of a place that this update made, the oldest first."""
    version = turn.service.spec_version.index
    return sorted((t for t in place.tasks if t.spec_version.index == version), key=order)


def _measure_place(turn: Turn, progress: Progress, place: Place, new: Sequence[Task]) -> None:
    config, now = turn.config, turn.now
    progress.placed = progress.placed or any(t.status.state >= ASSIGNED for t in new)
    settled = min((settled_at(t, turn.ran_since) for t in new), default=NEVER)
    settled = settled if settled == NEVER else turn.past(settled)
    failed = next((t for t in new if _failed(t, turn)), None)
    if failed is not None:
        progress.failed.append(failed.id)
    if settled == NEVER:
        _measure_unsettled(progress, place, new, turn, failed is not None)
        return
    progress.last_settled = max(progress.last_settled, settled)
    free_at = settled + duration_s(config.delay)
    if free_at > now:
        progress.in_flight += 1
        progress.next_at = min(progress.next_at, free_at)


def _measure_unsettled(
    progress: Progress, place: Place, new: Sequence[Task], turn: Turn, failed: bool
) -> None:
    config, task = turn.config, new[0]
    if config.HasField("progress_deadline") and duration_s(config.progress_deadline):
        deadline = turn.past(created(task)) + duration_s(config.progress_deadline)
        if deadline <= turn.now:
            if not failed:
                progress.failed.append(task.id)
            return
        progress.next_at = min(progress.next_at, deadline)
    if is_unplaced(new[-1]):
        progress.unplaced.append(new[-1])
        progress.risky += any(t.node_id for t in place.tasks if t not in new)
    else:
        progress.in_flight += 1


def is_unplaced(task: Task) -> bool:
    """Whether the allocator or the scheduler said why the task has to wait for its place."""
    return task.status.state <= PENDING and bool(task.status.err)


def settled_at(task: Task, ran_since: Mapping[str, float]) -> float:
    """When a task reached RUNNING or ended without; NEVER before that."""
    if task.status.state < RUNNING:
        return NEVER
    if task.status.state == RUNNING:
        return state_since(task)
    return ran_since.get(task.id, state_since(task))


def _failed(task: Task, turn: Turn) -> bool:
    """Whether a new task ended by itself before it had run for the monitored time."""
    if task.status.state not in ENDED_BY_ITSELF:
        return False
    ran_since = turn.ran_since.get(task.id)
    return ran_since is None or state_since(task) - ran_since <= duration_s(turn.config.monitor)
