"""What a service waits for: others that have to be started, healthy or done before it is placed.

Pure over the store, so that a new leader waits as the old one did. What is met once may be unmet
later: it counts when a task is to be placed, and takes none away that runs.
"""

from __future__ import annotations

from swarmlite.model.task_states import COMPLETE, FAILED, REJECTED, RUNNING, STARTING
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import Dependency, ServiceSpec

from .store.tables import Tables

JOBS = ("replicated_job", "global_job")
WORDS = {
    Dependency.STARTED: "to start",
    Dependency.HEALTHY: "to be healthy",
    Dependency.COMPLETED: "to complete",
}


def waiting_for(spec: ServiceSpec, view: Tables) -> str:
    """The first dependency that is not met, in words; empty when all are."""
    for dependency in spec.depends_on:
        if why := unmet(dependency, view):
            return f"waiting for {dependency.service} {WORDS[dependency.condition]}{why}".rstrip()
    return ""


def unmet(dependency: Dependency, view: Tables) -> str:
    """Why one is not met: a blank, or more in parentheses; empty when it is."""
    found = view.services.named(dependency.service)
    if not found:
        return "" if dependency.optional else " (there is no such service)"
    service = found[0]
    if holds(service, dependency.condition, view):
        return ""
    if dependency.condition == Dependency.COMPLETED and _failed(service, view):
        return " (its task failed)"
    return " "


def holds(service: Service, condition: Dependency.Condition.ValueType, view: Tables) -> bool:
    """Whether a service has come to what the condition says."""
    if condition == Dependency.COMPLETED:
        return _completed(service, view)
    first = STARTING if condition == Dependency.STARTED else RUNNING
    return any(
        first <= state <= RUNNING or (state == COMPLETE and condition == Dependency.STARTED)
        for (state, _, iteration), count in view.tasks.tallies(service.id).items()
        if count and _is_current(service, iteration)
    )


def _completed(service: Service, view: Tables) -> bool:
    """A job: all of this iteration. Any other service: one of its tasks ended well."""
    done = going = 0
    for (state, desired, iteration), count in view.tasks.tallies(service.id).items():
        if not _is_current(service, iteration):
            continue
        done += count if state == COMPLETE else 0
        going += count if state < COMPLETE and desired <= COMPLETE else 0
    mode = service.spec.WhichOneof("mode")
    if mode == "replicated_job":
        return done >= max(1, service.spec.replicated_job.total_completions)
    if mode == "global_job":
        return bool(done) and not going
    return bool(done)


def _failed(service: Service, view: Tables) -> bool:
    tallies = view.tasks.tallies(service.id).items()
    current = [state for (state, _, i), count in tallies if count and _is_current(service, i)]
    return any(s in (FAILED, REJECTED) for s in current) and all(s >= COMPLETE for s in current)


def _is_current(service: Service, iteration: int) -> bool:
    if service.spec.WhichOneof("mode") not in JOBS:
        return True
    return iteration == service.job_status.job_iteration


class Gate:
    """Tasks that wait for other services, by the names of these: whose news to ask again at."""

    def __init__(self) -> None:
        self._tasks: dict[str, dict[str, None]] = {}
        self._names: dict[str, tuple[str, ...]] = {}

    def hold(self, task_id: str, spec: ServiceSpec) -> None:
        """The task waits for what `spec` depends on."""
        names = tuple(dependency.service for dependency in spec.depends_on)
        self._names[task_id] = names
        for name in names:
            self._tasks.setdefault(name, {})[task_id] = None

    def release(self, name: str) -> list[str]:
        """Something became of the service of this name: tasks that waited for it, and wait no more
        until they are held again.
        """
        released = list(self._tasks.get(name, ()))
        for task_id in released:
            self.forget(task_id)
        return released

    def forget(self, task_id: str) -> None:
        """The task is no longer of interest."""
        for name in self._names.pop(task_id, ()):
            held = self._tasks.get(name)
            if held is not None:
                held.pop(task_id, None)
                if not held:
                    del self._tasks[name]

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._names
