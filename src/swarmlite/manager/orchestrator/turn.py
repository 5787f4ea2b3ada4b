"""One turn of deciding about one service: what to write, and when to look again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from swarmlite.model.defaults import restart_max_delay_s, rollback_config, update_config
from swarmlite.model.task_states import READY, REJECTED, REMOVE, RUNNING, SHUTDOWN
from swarmlite.proto.objects_pb2 import Service, Task
from swarmlite.proto.types_pb2 import TaskState, UpdateConfig, UpdateStatus

from ..restart import ENDED_BY_ITSELF, delay_s, must_leave, should_restart, start_at, still_going
from ..store.api import Change, Put
from ..store.tables import Tables
from ..times import Past, created, order, state_since
from .draining import Leaving
from .places import Dirtiness, Key, Place, newest
from .task import held_back, new_task, template

IN_PROGRESS = frozenset({UpdateStatus.UPDATING, UpdateStatus.ROLLBACK_STARTED})
PAUSED = frozenset({UpdateStatus.PAUSED, UpdateStatus.ROLLBACK_PAUSED})


@dataclass
class Turn:
    """Decisions about one service, collected; nothing outside of it changes."""

    service: Service
    view: Tables
    now: float
    budget: int
    ran_since: Mapping[str, float] = field(default_factory=dict)
    """When ended tasks had reached RUNNING, for those whose end was seen."""
    past: Past = field(default_factory=Past)
    """Stored times, none of them ahead of now."""
    changes: list[Change] = field(default_factory=list)
    wake_at: float | None = None
    cut_short: bool = False
    """The budget was spent before all was decided: another turn is needed."""
    unfilled: Sequence[int] = ()
    """Slots that are yet to be filled, when the budget was spent and nothing else is left to do."""

    def __post_init__(self) -> None:
        self._template: Task | None = None
        self.dirty = Dirtiness(self.service, self.view)
        self.leaving = Leaving(self.service, self.view, self.now)
        self.past.at(self.now)

    @property
    def spent(self) -> bool:
        """Whether the budget is spent; whoever stops for it has the turn repeated."""
        if len(self.changes) >= self.budget:
            self.cut_short = True
        return self.cut_short

    @property
    def config(self) -> UpdateConfig:
        """How tasks are replaced now: the rollback's way while rolling back."""
        state = self.service.update_status.state
        if state in (UpdateStatus.ROLLBACK_STARTED, UpdateStatus.ROLLBACK_PAUSED):
            return rollback_config(self.service.spec)
        return update_config(self.service.spec)

    def later(self, at: float) -> None:
        """Look again at this time."""
        self.wake_at = at if self.wake_at is None else min(at, self.wake_at)

    def set_desired(self, task: Task, desired: TaskState.ValueType) -> None:
        """Raise a task's desired state; it only ever rises."""
        if desired <= task.desired_state:
            return
        changed = Task()
        changed.CopyFrom(task)
        changed.desired_state = desired
        self.changes.append(Put(changed))

    def create(self, key: Key, *, hold: bool = False, failures: int = 0) -> None:
        """A new task for a place; held back at READY when another has to end first.

        `failures`: how many tasks of the place failed in a row before it.
        """
        if self._template is None:
            self._template = template(self.service, self.view.cluster)
        make = held_back if hold else new_task
        task = make(self._template, key, self.now)
        task.failures = failures
        self.changes.append(Put(task))

    def remove(self, tasks: Iterable[Task]) -> None:
        """Remove tasks, history included: their place is no longer wanted."""
        for task in tasks:
            if self.spent:
                return
            self.set_desired(task, REMOVE)

    def stop(self) -> None:
        """End all that runs; what ended is kept to be looked at."""
        for task in self.view.tasks.of_service(self.service.id).values():
            if self.spent:
                return
            self.set_desired(task, SHUTDOWN)

    def fill(self, key: Key, tasks: Iterable[Task], previous: Task | None = None) -> None:
        """A task for a place in which nothing is desired to run.

        It starts at once, unless something of the place is still going, or its restart is delayed.
        """
        hold = any(still_going(t, self.view) for t in tasks) or (
            previous is not None
            and delay_s(previous, self.service.spec_version.index, self.view) > 0
        )
        self.create(key, hold=hold, failures=self._failures_after(previous))

    def _failures_after(self, previous: Task | None) -> int:
        """The count goes on with a task that failed, unless that had run for longer than any delay
        is.
        """
        if previous is None or previous.status.state not in ENDED_BY_ITSELF:
            return 0
        if previous.spec_version.index != self.service.spec_version.index:
            return 0
        ran_since = self.ran_since.get(previous.id)
        if ran_since is not None:
            ran_s = state_since(previous) - ran_since
            if ran_s > restart_max_delay_s(previous.spec):
                return 1
        return previous.failures + 1

    def settle(self, place: Place) -> None:
        """Make one place hold: end what is too many, replace what ended, start what waited.

        Replacing outdated tasks is the updater's.
        """
        if len(place.live) > 1:
            self._keep_one(place)
        self._replace_lost(place)
        self._replace_leaving(place)
        for task in place.live:
            if task.desired_state == READY:
                self._start_when_due(task, place)

    def _keep_one(self, place: Place) -> None:
        """Of several live tasks the furthest stays; an outdated one too, while starting first."""
        ranked = sorted(place.live, key=lambda t: (-t.status.state, *order(t)))
        clean = [t for t in ranked if not self._goes(t)]
        outdated = [t for t in ranked if self._goes(t)]
        keep = clean[:1] or outdated[:1]
        if clean and outdated and self._waits_for(clean[0]):
            keep.append(outdated[0])
        kept = {t.id for t in keep}
        for task in ranked:
            if task.id not in kept:
                self.set_desired(task, SHUTDOWN)
        place.live = keep

    def _goes(self, task: Task) -> bool:
        """Whether the task ends once another one of its place runs."""
        return self.dirty(task) or self.leaving(task)

    def _waits_for(self, successor: Task) -> bool:
        start_first = self.config.order == UpdateConfig.START_FIRST
        return start_first and successor.status.state < RUNNING

    def _replace_lost(self, place: Place) -> None:
        """Tasks that ended or must move: their successor first, for creating never conflicts."""
        if not place.lost:
            return
        last = newest(place.lost)
        if last.desired_state == READY and last.status.state > RUNNING:
            # It ended before it was to start: its own delay goes first, else nothing slows a
            # place whose tasks end while they are prepared.
            due = self._due_at(last, place)
            if due > self.now:
                self.later(due)
                return
        if last.status.state == REJECTED and last.status.applied_by:
            # Its node refused it while it was prepared, and would refuse the next as fast.
            delay = delay_s(last, self.service.spec_version.index, self.view)
            due = self.past(state_since(last)) + delay
            if delay and due > self.now:
                self.later(due)
                return
        if not place.live:
            moved = last.status.state <= RUNNING or must_leave_now(last, self.view)
            if moved or should_restart(last, place.tasks):
                self.fill(place.key, place.tasks, last)
        elif self._held_up_by_update(place, last):
            self.create(place.key, hold=True)
        for task in place.lost:
            self.set_desired(task, SHUTDOWN)

    def _replace_leaving(self, place: Place) -> None:
        """A successor beside a task whose node is drained."""
        going = [t for t in place.live if self.leaving(t)]
        if not going:
            return
        self.later(min(self.leaving.deadline(t) for t in going))
        tried = any(order(t) > order(going[-1]) for t in place.tasks)
        if len(going) == len(place.live) and not tried:
            self.create(place.key)

    def _held_up_by_update(self, place: Place, last: Task) -> bool:
        """Whether a successor that ended beside the task it was to replace is tried again."""
        return (
            self.service.update_status.state not in PAUSED
            and not self.dirty(last)
            and all(self._goes(t) for t in place.live)
            and should_restart(last, place.tasks)
        )

    def _start_when_due(self, task: Task, place: Place) -> None:
        others_run = any(t is not task and t.desired_state == RUNNING for t in place.live)
        if others_run and self.config.order != UpdateConfig.START_FIRST:
            return
        at = self._due_at(task, place)
        if at <= self.now:
            self.set_desired(task, RUNNING)
        else:
            self.later(at)

    def _due_at(self, task: Task, place: Place) -> float:
        at = start_at(task, place.tasks, self.view, self.past)
        if any(t is not task and t.desired_state == RUNNING for t in place.live):
            at = min(at, self.past(created(task)) + delay_of_retry(task, place, self.view))
        return at


def must_leave_now(task: Task, view: Tables) -> bool:
    """Whether the node of a task that was assigned cannot keep it."""
    return bool(task.node_id) and must_leave(view.nodes.get(task.node_id))


def delay_of_retry(task: Task, place: Place, view: Tables) -> float:
    """The restart delay of a successor that is tried again while the outdated task runs on."""
    ended = [t for t in place.tasks if t.id != task.id and t.status.state > RUNNING]
    return delay_s(newest(ended), task.spec_version.index, view) if ended else 0.0
