"""What must hold of schedules, scaling, canaries, drains, back-off, packing and rebalancing.

`always` runs at every write, `at_rest` once the last fault is over. Services go by their names.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from checkers import Broken
from world import World

from swarmlite.manager.times import seconds
from swarmlite.model.replicas import desired_replicas
from swarmlite.model.task_states import ASSIGNED, FAILED, RUNNING, STARTING
from swarmlite.proto.objects_pb2 import Node, Service, Task
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeStatus, UpdateStatus

MINUTE_S = 60
GROW_AFTER_S, SHRINK_AFTER_S = 30.0, 300.0
STEP_S = 5.0
"""Of the simulated clock: what is due is seen at most so much later."""


@dataclass
class Crashes:
    """Of one place: failures in a row, with no fault of a node between them."""

    count: int = 0
    at: float = 0.0
    faults: int = 0


class ModeCheckers:
    """Of one world; `faults` counts what was done to nodes, by whoever does it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: dict[str, Task] = {}
        self._nodes: dict[str, Node] = {}
        self._services: dict[str, Service] = {}
        self._crashes: dict[object, Crashes] = {}
        self._scaled_at = 0.0
        self._not_less_at = world.now
        self._faults_at_update: dict[tuple[str, int], int] = {}
        self.faults = 0
        self.promoted: set[tuple[str, int]] = set()
        """Updates that somebody let go on past their canaries."""
        world.on_commit.append(self.always)

    def always(self) -> None:
        view = self._world.view
        for service in view.services:
            before = self._services.get(service.id)
            if before is None or before is not service:
                self._changed(service, before)
            if service.spec.update.canary:
                self._canaries(service)
        tasks = {task.id: task for task in view.tasks}
        for task_id, task in tasks.items():
            before = self._tasks.get(task_id)
            if task is not before:
                self._task(task, before)
        self._packed(tasks)
        self._tasks = tasks
        self._nodes = {node.id: node for node in view.nodes}
        self._services = {service.id: service for service in view.services}

    def named(self, name: str) -> Service:
        services = self._world.view.services
        return next(s for s in services if s.spec.annotations.name == name)

    def measured(self, load: float) -> None:
        """The use of all of `elastic`'s tasks together, in processors, of which each is to use half
        a one: since when fewer replicas would do.
        """
        current = desired_replicas(self.named("elastic"))
        factor = load / current / 0.5
        needed = current if abs(factor - 1) <= 0.1 else max(1, math.ceil(current * factor))
        if needed >= current:
            self._not_less_at = self._world.now

    # --- services

    def _changed(self, service: Service, before: Service | None) -> None:
        if service.spec.schedule:
            self._scheduled(service, before)
        if service.spec.HasField("autoscale") and before is not None:
            found = service.autoscaling.replicas or desired_replicas(service)
            self._scaled(before.autoscaling.replicas or desired_replicas(before), found)
        promoted = service.update_status.promoted
        if promoted and before is not None and not before.update_status.promoted:
            self._was_promoted(service)

    def _scheduled(self, service: Service, before: Service | None) -> None:
        runs = service.job_status.job_iteration
        created = seconds(service.meta.created_at)
        due = self._world.now // MINUTE_S - created // MINUTE_S
        if runs > due:
            raise Broken(f"{service.id} ran {runs} times, and was due {due} times")
        if before is not None and runs > before.job_status.job_iteration:
            if service.spec.stopped:
                raise Broken(f"{service.id} is stopped, and ran")
            if any(map(_is_live, self._world.tasks(service.id))):
                raise Broken(f"run {runs} of {service.id} began while the last one went on")

    def _scaled(self, before: int, now: int) -> None:
        if before == now:
            return
        world, spec = self._world, self.named("elastic").spec.autoscale
        if not spec.min <= now <= spec.max:
            raise Broken(f"{now} replicas are not between {spec.min} and {spec.max}")
        if now > 2 * before:
            raise Broken(f"from {before} to {now} replicas at once")
        if now > before and world.now - self._scaled_at < GROW_AFTER_S:
            raise Broken(f"{now} replicas {world.now - self._scaled_at} s after {before}")
        if now < before and world.now - self._not_less_at < SHRINK_AFTER_S:
            since = world.now - self._not_less_at
            raise Broken(f"{now} replicas, though {before} were needed {since} s ago")
        self._scaled_at = world.now

    def _canaries(self, service: Service) -> None:
        status, version = service.update_status, service.spec_version.index
        key = service.id, version
        # A place whose task ended, or whose node goes, is filled with the new spec, as in Swarm.
        running = len(self._world.running(service.id))
        well = running == desired_replicas(service) and all(map(_works, self._world.view.nodes))
        faults = self._faults_at_update.setdefault(key, self.faults if well else -1)
        going = status.state in (0, UpdateStatus.UPDATING)
        if not going or status.promoted or not service.HasField("previous_spec"):
            return
        new = {
            t.slot for t in self._world.tasks(service.id)
            if t.spec_version.index == version and _is_live(t)
        }  # fmt: skip
        if len(new) > service.spec.update.canary and faults == self.faults:
            raise Broken(f"{len(new)} canaries of {service.id} before any was watched")

    def _was_promoted(self, service: Service) -> None:
        version = service.spec_version.index
        if service.spec.update.canary_by_hand:
            if (service.id, version) not in self.promoted:
                raise Broken(f"nobody promoted the canaries of {service.id}")
            return
        until = self._world.now - seconds(service.spec.update.monitor)
        watched = [
            t for t in self._world.running(service.id)
            if t.spec_version.index == version and seconds(t.status.timestamp) <= until
        ]  # fmt: skip
        if len(watched) < service.spec.update.canary:
            raise Broken(f"{len(watched)} canaries of {service.id} were watched")

    # --- tasks

    def _task(self, task: Task, before: Task | None) -> None:
        service = self._world.view.services.get(task.service_id)
        name = service.spec.annotations.name if service is not None else ""
        if name == "gentle" and before is not None:
            self._gently(task, before)
        if name == "crashing":
            self._backs_off(task, before)

    def _gently(self, task: Task, before: Task) -> None:
        if before.desired_state != RUNNING or task.desired_state <= RUNNING:
            return
        node = self._world.view.nodes.get(task.node_id)
        drained = (
            node is not None
            and node.spec.availability == NodeSpec.DRAIN
            and node.status.state == NodeStatus.READY
            and self._world.now < seconds(node.drain_by)
        )
        if not drained or before.status.state != RUNNING:
            return
        others = self._world.running(task.service_id)
        if not any(t.slot == task.slot and t.id != task.id for t in others):
            raise Broken(f"{task.id} was ended before its successor ran")

    def _backs_off(self, task: Task, before: Task | None) -> None:
        was = before.status.state if before is not None else 0
        place = self._crashes.setdefault(task.slot, Crashes())
        if place.faults != self.faults:
            place.count, place.faults = 0, self.faults
        if task.status.state >= STARTING > was and place.count:
            waited = self._world.now - place.at
            least = min(16.0, 2.0 ** (place.count - 1))
            if waited < least:
                raise Broken(f"after {place.count} failures the next start was {waited} s later")
        if task.status.state > RUNNING >= was:
            if task.status.state == FAILED and was >= STARTING:
                place.count, place.at = place.count + 1, self._world.now
            else:
                place.count = 0

    def _packed(self, tasks: dict[str, Task]) -> None:
        """Each task goes to the fullest node that has room for it."""
        service = self.named("packed")
        size = service.spec.task.resources.reservations.memory_bytes
        fresh = Counter(
            t.node_id for t in tasks.values()
            if t.service_id == service.id and t.status.state == ASSIGNED
            and (t.id not in self._tasks or not self._tasks[t.id].node_id)
        )  # fmt: skip
        if not fresh:
            return
        held = Counter(
            t.node_id for t in self._tasks.values()
            if t.service_id == service.id and t.node_id and t.status.state <= RUNNING
        )  # fmt: skip
        for node in self._nodes.values():
            if not _works(node):
                continue
            room = node.description.resources.memory_bytes // size
            if held[node.id] + fresh[node.id] >= room:
                continue
            for chosen, more in fresh.items():
                if held[chosen] + more - 1 < held[node.id]:
                    raise Broken(f"{chosen} was chosen though {node.id} is fuller")

    # --- once at rest

    def at_rest(self) -> None:
        """Every node is back and active, one has just joined, and all had time."""
        world = self._world
        job = self.named("nightly")
        ago = world.now - max(seconds(job.job_status.last_execution), seconds(job.meta.created_at))
        if not job.spec.stopped and ago > MINUTE_S + STEP_S:
            live = [t.id for t in world.tasks(job.id) if _is_live(t)]
            if not live:
                raise Broken(f"{job.id} ran {ago} s ago, and is due each minute")
        level = self.named("level")
        on = Counter({node.id: 0 for node in world.view.nodes})
        on.update(t.node_id for t in world.running(level.id))
        if max(on.values()) - min(on.values()) > 1:
            raise Broken(f"a node joined, and tasks stand as {dict(on)}")


def _works(node: Node) -> bool:
    return node.status.state == NodeStatus.READY and node.spec.availability == NodeSpec.ACTIVE


def _is_live(task: Task) -> bool:
    return task.status.state <= RUNNING and task.desired_state <= RUNNING
