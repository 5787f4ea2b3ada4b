"""How far a service is from its spec: pure, from the service, its tasks and the nodes.

`look` is called with each new view and answers lines (id and text) and whether all run; the rest,
time and terminals, is progress.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from swarmlite.cli.output import human
from swarmlite.model import task_states
from swarmlite.model.replicas import desired_replicas
from swarmlite.proto.objects_pb2 import Service, Task
from swarmlite.proto.types_pb2 import UpdateStatus

MAX_BARS = 20
BAR_WIDTH = 50
ERROR_WIDTH = 75
_STEPS = (
    task_states.NEW,
    task_states.PENDING,
    task_states.ASSIGNED,
    task_states.ACCEPTED,
    task_states.PREPARING,
    task_states.READY,
    task_states.STARTING,
    task_states.RUNNING,
)
_NAME_WIDTH = len("preparing")
_JOBS = ("replicated_job", "global_job")


@dataclass
class View:
    """What is to be shown of a service now."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    converged: bool = False
    errors: list[str] = field(default_factory=list)


def look(service: Service, tasks: Sequence[Task], down_nodes: set[str], rollback: bool) -> View:
    """The state of `service`; `tasks` are its up-to-date ones."""
    mode = service.spec.WhichOneof("mode")
    if service.spec.schedule and not service.job_status.job_iteration:
        return View([("schedule", service.spec.schedule)], converged=True)
    if mode in _JOBS:
        return _look_at_job(service, tasks)
    by_place = _best(tasks, down_nodes, by_slot=mode == "replicated")
    wanted = desired_replicas(service) if mode == "replicated" else len(by_place)
    if service.spec.stopped:
        left = sum(t.status.state < task_states.COMPLETE for t in tasks)
        return View([("overall progress", f"{left} tasks left")], converged=left == 0)
    running = sum(_runs(task) for task in by_place.values())
    view = View(converged=running == wanted and (mode == "replicated" or wanted > 0))
    if mode == "global" and not by_place:
        view.lines.append(("overall progress", "waiting for new tasks"))
        return view
    head = "rolling back update: " if rollback else ""
    view.lines.append(("overall progress", f"{head}{running} out of {wanted} tasks"))
    view.errors = sorted({_error(t) for t in by_place.values() if t.status.err and not _runs(t)})
    if wanted <= MAX_BARS:
        view.lines += _bars(by_place, wanted, mode == "replicated")
    return view


def finished_update(service: Service, before: UpdateStatus) -> tuple[str, bool] | None:
    """The end of an update that did not go as asked: the line, and whether it is over for good.

    None while it goes on, and for a status that stood there before.
    """
    status = service.update_status
    if status == before:
        return None
    if status.state == UpdateStatus.PAUSED:
        return f"service update paused: {status.message}", True
    if status.state == UpdateStatus.ROLLBACK_PAUSED:
        return f"service rollback paused: {status.message}", True
    if status.state == UpdateStatus.ROLLBACK_COMPLETED:
        return f"service rolled back: {status.message}", False
    return None


def stands_at_canaries(service: Service, before: UpdateStatus) -> str:
    """What an update says that waits for `service promote`; empty while it does not."""
    status = service.update_status
    if status == before or status.state != UpdateStatus.UPDATING or status.promoted:
        return ""
    return status.message.partition("; canary: ")[2] if service.spec.update.canary_by_hand else ""


def _look_at_job(service: Service, tasks: Sequence[Task]) -> View:
    iteration = service.job_status.job_iteration
    mine = [t for t in tasks if t.job_iteration.index == iteration]
    done = sum(t.status.state == task_states.COMPLETE for t in mine)
    if service.spec.WhichOneof("mode") == "replicated_job":
        total = service.spec.replicated_job.total_completions
    else:
        total = len({t.node_id for t in mine})
    active = sum(t.status.state < task_states.COMPLETE for t in mine)
    view = View(converged=total > 0 and done >= total)
    view.lines = [
        ("job progress", f"{done} out of {total} complete"),
        ("active tasks", f"{active} out of {max(total - done, 0)} tasks"),
    ]
    failed = [t for t in mine if t.status.state > task_states.COMPLETE or t.status.err]
    view.errors = sorted({_error(t) for t in failed if t.status.err})
    return view


def _best(tasks: Iterable[Task], down_nodes: set[str], *, by_slot: bool) -> dict[str, Task]:
    """One task a place: where several are, the one that is desired to go on."""
    best: dict[str, Task] = {}
    for task in tasks:
        if task.node_id in down_nodes or task.desired_state >= task_states.REMOVE:
            continue
        place = str(task.slot) if by_slot else task.node_id
        other = best.get(place)
        rank = (task.desired_state, task.status.state)
        if other is None or rank < (other.desired_state, other.status.state):
            best[place] = task
    return best


def _bars(tasks: dict[str, Task], wanted: int, by_slot: bool) -> list[tuple[str, str]]:
    places = sorted(tasks, key=int if by_slot else str)
    lines = []
    for index in range(wanted):
        task = tasks[places[index]] if index < len(places) else None
        name = human.short_id(places[index]) if not by_slot else f"{index + 1}/{wanted}"
        lines.append((name, _bar(task) if task is not None else ""))
    return lines


def _bar(task: Task) -> str:
    state = task.status.state
    if task.status.err and not _runs(task):
        return _error(task)
    if state not in _STEPS or task.desired_state > task_states.RUNNING:
        return task_states.name(state)
    filled = BAR_WIDTH * (_STEPS.index(state) + 1) // len(_STEPS)
    bar = "=" * filled + ">"
    return f"{task_states.name(state):<{_NAME_WIDTH}} [{bar[:BAR_WIDTH]:<{BAR_WIDTH}}]"


def _error(task: Task) -> str:
    return human.ellipsis(" ".join(task.status.err.split()), ERROR_WIDTH)


def _runs(task: Task) -> bool:
    live = task.desired_state <= task_states.RUNNING
    return live and task.status.state == task_states.RUNNING
