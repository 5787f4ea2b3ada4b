"""Autoscaling: how many replicas a service has, by what its tasks use.

As many as bring the tasks' mean use to what the spec names. A tenth to either side changes nothing;
more are made at once, at most twice as many at a time, and then the new ones are given a while to
take their part; fewer once they would have done for five minutes without a break. All of it is read
from the store, so that a new leader goes on where the old one was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from swarmlite.model.replicas import desired_replicas
from swarmlite.model.task_states import RUNNING
from swarmlite.proto.objects_pb2 import Service, Task

from .isolation import apart
from .store.api import Change, Event, Put
from .store.tables import Tables
from .times import seconds, stamp, state_since

PERIOD_S = 5.0
FRESH_S = 45.0
"""A reading that is older says nothing any more."""
GROW_AFTER_S = 30.0
SHRINK_AFTER_S = 300.0
TOLERANCE = 0.1
ONE_CPU = 10**9


@dataclass(frozen=True)
class Want:
    """How many replicas the use of one resource asks for."""

    replicas: int
    why: str


class Autoscaler:
    """Implements Loop. Readings are no reason to plan by themselves: it looks from time to time."""

    kinds: tuple[str, ...] = ("service",)

    def __init__(self) -> None:
        self._scaled: set[str] = set()
        self._at: float | None = None

    def reset(self, view: Tables) -> None:
        """As Loop.reset."""
        self._scaled = {s.id for s in view.services if s.spec.HasField("autoscale")}
        self._at = 0.0 if self._scaled else None

    def observe(self, events: Sequence[Event]) -> None:
        """As Loop.observe."""
        for event in events:
            service = event.obj
            if not isinstance(service, Service):
                continue
            if service.spec.HasField("autoscale"):
                if service.id not in self._scaled:
                    self._scaled.add(service.id)
                    self._at = 0.0
            else:
                self._scaled.discard(service.id)

    def plan(self, view: Tables, now: float) -> list[Change]:
        """As Loop.plan."""
        if self._at is None or (now < self._at <= now + PERIOD_S):
            return []
        changes: list[Change] = []
        for service_id in list(self._scaled):
            service = view.services.get(service_id)
            if service is None or not service.spec.HasField("autoscale"):
                self._scaled.discard(service_id)
                continue
            changed = apart("service", service_id, scaled, service, view, now)
            if changed is not None:
                changes.append(Put(changed))
        self._at = now + PERIOD_S if self._scaled else None
        return changes

    def refused(self, changes: Sequence[Change]) -> None:
        """As Loop.refused: the next look sees to it."""

    def wake_at(self) -> float | None:
        """As Loop.wake_at."""
        return self._at


def scaled(service: Service, view: Tables, now: float) -> Service | None:
    """The service with another number of replicas, or with what was noted; None as it is."""
    spec, state = service.spec.autoscale, service.autoscaling
    current = desired_replicas(service)
    tasks = [t for t in view.tasks.of_service(service.id).values() if _counts(t, now)]
    want = _wanted(service, tasks)
    if service.spec.stopped or want is None or len(tasks) < current:
        # Not all of them run and are measured: nothing is known of what more would do.
        return _noted(service, less=None)
    changed_at = min(seconds(state.changed_at), now)
    target = max(spec.min, min(spec.max, want.replicas))
    if target > current:
        if now - changed_at < GROW_AFTER_S:
            return _noted(service, less=None)
        return _set(service, min(target, 2 * current), want.why, now)
    if target == current:
        return _noted(service, less=None)
    if not state.HasField("less_since") or seconds(state.less_since) > now:
        return _noted(service, less=now)
    if now - seconds(state.less_since) < SHRINK_AFTER_S:
        return None
    return _set(service, target, want.why, now)


def _counts(task: Task, now: float) -> bool:
    """Whether it runs, and its reading is of now."""
    if task.status.state != RUNNING or task.desired_state != RUNNING:
        return False
    measured = seconds(task.usage.measured_at)
    return measured >= state_since(task) and now - measured <= FRESH_S


def _wanted(service: Service, tasks: Sequence[Task]) -> Want | None:
    """What the resource asks for that asks for most; None where nothing is known."""
    if not tasks:
        return None
    spec, resources = service.spec.autoscale, service.spec.task.resources
    limits, reserved = resources.limits, resources.reservations
    whole = limits.nano_cpus or reserved.nano_cpus or ONE_CPU
    memory = limits.memory_bytes or reserved.memory_bytes
    asked = [
        _by("cpu", spec.cpu_percent, whole, [t.usage.nano_cpus for t in tasks]),
        _by("memory", spec.memory_percent, memory, [t.usage.memory_bytes for t in tasks]),
    ]
    return max((want for want in asked if want), key=lambda want: want.replicas, default=None)


def _by(word: str, percent: int, whole: int, used: Sequence[int]) -> Want | None:
    if not percent or not whole:
        return None
    mean = 100 * sum(used) / len(used) / whole
    factor = mean / percent
    count = len(used)
    if abs(factor - 1) > TOLERANCE:
        count = max(1, math.ceil(count * factor))
    return Want(count, f"{word} {mean:.0f}% of {percent}%")


def _set(service: Service, replicas: int, why: str, now: float) -> Service:
    changed, before = _copy(service), desired_replicas(service)
    state = changed.autoscaling
    state.replicas = replicas
    state.message = f"{why}: {before} to {replicas} replicas"
    stamp(state.changed_at, now)
    state.ClearField("less_since")
    return changed


def _noted(service: Service, less: float | None) -> Service | None:
    """Since when fewer replicas would do; None where that is noted already."""
    if less is None and not service.autoscaling.HasField("less_since"):
        return None
    changed = _copy(service)
    if less is None:
        changed.autoscaling.ClearField("less_since")
    else:
        stamp(changed.autoscaling.less_since, less)
    return changed


def _copy(service: Service) -> Service:
    changed = Service()
    changed.CopyFrom(service)
    return changed
