"""A cluster without I/O: the store in memory, the leader's loops, a clock, and simulated agents."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from swarmlite.manager.loop import Loop
from swarmlite.manager.loops import leader_loops
from swarmlite.manager.orchestrator import task as task_module
from swarmlite.manager.orchestrator.loop import Orchestrator
from swarmlite.manager.store.api import Change, Delete, Fence, Fenced, Put, Resync
from swarmlite.manager.store.feed import FeedSubscription
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.manager.times import stamp
from swarmlite.model.defaults import fill_service
from swarmlite.model.task_states import (
    ACCEPTED,
    ASSIGNED,
    COMPLETE,
    FAILED,
    PREPARING,
    READY,
    REJECTED,
    REMOVE,
    RUNNING,
    SHUTDOWN,
    STARTING,
)
from swarmlite.proto.objects_pb2 import Cluster, Network, Node, Service, Task
from swarmlite.proto.specs_pb2 import NodeSpec, ServiceSpec
from swarmlite.proto.types_pb2 import NodeStatus, UpdateStatus

START = 1_700_000_000.0


class World:
    """Calls of users, faults, and the passing of time; `leader` runs the loops in turn."""

    def __init__(self, budget: int = 50) -> None:
        self.now = START
        self.store = MemoryStore(lambda: datetime.fromtimestamp(self.now, UTC))
        self.budget = budget
        self.agents: dict[str, Agent] = {}
        self._ids = itertools.count(1)
        self.leader = Leader(self)
        self.make_loops: Callable[[], list[Loop]] = lambda: leader_loops(budget=self.budget)
        self.on_commit: list[Callable[[], None]] = []
        self.on_decided: list[Callable[[], None]] = []
        """Called when the orchestrator has nothing left to decide."""
        self.on_settled: list[Callable[[], None]] = []
        """Called when nobody has anything left to do before time passes."""
        # The order of objects must be the same whenever an example is replayed.
        task_module.new_id = lambda: self.new_id("task")
        cluster = Cluster(id="cluster", default_address_pool=["10.0.0.0/16"], subnet_size=24)
        cluster.spec.annotations.name = "default"
        cluster.spec.orchestration.task_history_retention_limit = 2
        self.write(Put(cluster))
        ingress = Network(id="ingress")
        ingress.spec.annotations.name = "ingress"
        ingress.spec.ingress = True
        self.write(Put(ingress))

    @property
    def view(self):
        return self.store.view

    def write(self, change: Change) -> None:
        """As the API or the dispatcher writes: without a fence, with the version that was read."""
        self.store.commit_now([change])
        for check in self.on_commit:
            check()

    def new_id(self, kind: str) -> str:
        return f"{kind}{next(self._ids):04}"

    # --- what users do

    def add_network(self, name: str, *subnets: str, ipv6: bool = False) -> str:
        network = Network(id=self.new_id("net"))
        network.spec.annotations.name = name
        network.spec.driver.name = "overlay"
        network.spec.ipv6_enabled = ipv6
        for subnet in subnets:
            network.spec.ipam.configs.add(subnet=subnet)
        self.write(Put(network))
        return network.id

    def create_service(self, spec: ServiceSpec) -> str:
        service = Service(id=self.new_id("svc"), spec=fill_service(spec))
        service.spec_version.index = self.view.revision + 1
        if spec.WhichOneof("mode") in ("replicated_job", "global_job"):
            service.job_status.job_iteration = 0 if spec.schedule else 1
            stamp(service.job_status.last_execution, self.now)
        self.write(Put(service))
        return service.id

    def update_service(self, service_id: str, change: Callable[[ServiceSpec], None]) -> None:
        service = copy_of(self.view.services.get(service_id))
        service.previous_spec.CopyFrom(service.spec)
        service.previous_spec_version.CopyFrom(service.spec_version)
        change(service.spec)
        service.spec_version.index = self.view.revision + 1
        service.ClearField("update_status")
        if service.HasField("job_status") and not service.spec.schedule:
            service.job_status.job_iteration += 1
        self.write(Put(service))

    def roll_back(self, service_id: str) -> None:
        service = copy_of(self.view.services.get(service_id))
        if not service.HasField("previous_spec"):
            return
        spec, version = copy_of(service.spec), copy_of(service.spec_version)
        service.spec.CopyFrom(service.previous_spec)
        service.spec_version.index = self.view.revision + 1
        service.previous_spec.CopyFrom(spec)
        service.previous_spec_version.CopyFrom(version)
        service.update_status.Clear()
        service.update_status.state = UpdateStatus.ROLLBACK_STARTED
        stamp(service.update_status.started_at, self.now)
        self.write(Put(service))

    def scale(self, service_id: str, replicas: int) -> None:
        self.update_service(service_id, lambda s: setattr(s.replicated, "replicas", replicas))

    def stop(self, service_id: str, stopped: bool = True) -> None:
        self.update_service(service_id, lambda s: setattr(s, "stopped", stopped))

    def rebalance(self, service_id: str) -> None:
        service = copy_of(self.view.services.get(service_id))
        service.rebalance.Clear()
        service.rebalance.SetInParent()
        self.write(Put(service))

    def remove_service(self, service_id: str) -> None:
        self.write(Delete(self.view.services.get(service_id)))

    # --- nodes

    def add_node(self, memory: int = 1 << 30, **labels: str) -> str:
        node = Node(id=self.new_id("node"))
        node.status.state = NodeStatus.READY
        node.description.hostname = node.id
        node.description.platform.os, node.description.platform.architecture = "linux", "amd64"
        node.description.resources.nano_cpus = 4 * 10**9
        node.description.resources.memory_bytes = memory
        node.spec.annotations.labels.update(labels)
        self.write(Put(node))
        self.agents[node.id] = Agent(self, node.id)
        return node.id

    def change_node(self, node_id: str, change: Callable[[Node], None]) -> None:
        node = copy_of(self.view.nodes.get(node_id))
        change(node)
        self.write(Put(node))

    def set_availability(self, node_id: str, availability: NodeSpec.Availability.ValueType) -> None:
        self.change_node(node_id, lambda n: setattr(n.spec, "availability", availability))

    def set_state(self, node_id: str, state: NodeStatus.State.ValueType) -> None:
        self.change_node(node_id, lambda n: setattr(n.status, "state", state))

    def cut(self, node_id: str) -> None:
        """The node's session ends; its containers run on."""
        self.agents[node_id].connected = False
        self.set_state(node_id, NodeStatus.DOWN)

    def heal(self, node_id: str) -> None:
        """The node is back, with whatever it runs."""
        self.agents[node_id].connected = True
        self.set_state(node_id, NodeStatus.READY)

    def crash(self, node_id: str) -> None:
        """The node dies with its containers."""
        self.agents[node_id].containers.clear()
        self.cut(node_id)

    def remove_node(self, node_id: str) -> None:
        self.agents.pop(node_id).containers.clear()
        self.write(Delete(self.view.nodes.get(node_id)))

    # --- time

    def settle(self, rounds: int = 400) -> None:
        """Let the loops and agents act until nothing changes; no time passes."""
        for _ in range(rounds):
            before = self.view.revision
            self.leader.turn()
            for agent in list(self.agents.values()):
                agent.turn()
            if self.view.revision == before and not self.leader.busy():
                for check in self.on_settled:
                    check()
                return
        last = "\n".join(self.leader.log[-30:])
        raise AssertionError(f"the loops never come to rest\n{last}")

    def run(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass."""
        end = self.now + seconds
        self.settle()
        while self.now < end:
            self.now = min(end, self.now + step)
            self.settle()

    # --- what is there

    def tasks(self, service_id: str) -> list[Task]:
        return sorted(self.view.tasks.of_service(service_id).values(), key=lambda t: (t.slot, t.id))

    def running(self, service_id: str) -> list[Task]:
        return [
            t
            for t in self.tasks(service_id)
            if t.status.state == RUNNING and t.desired_state == RUNNING
        ]

    def report(self, task_id: str, state, err: str = "") -> None:
        """A status as the dispatcher writes it: only ever rising."""
        task = self.view.tasks.get(task_id)
        if task is None or state <= task.status.state:
            return
        changed = copy_of(task)
        changed.status.state = state
        changed.status.err = err
        changed.status.applied_by = task.node_id
        stamp(changed.status.timestamp, self.now)
        stamp(changed.status.applied_at, self.now)
        self.write(Put(changed))


def copy_of(obj):
    copy = type(obj)()
    copy.CopyFrom(obj)
    return copy


def brief(obj) -> str:
    if isinstance(obj, Task):
        return (
            f"{obj.id} {obj.service_id}.{obj.slot or obj.node_id} v{obj.spec_version.index}"
            f" {obj.node_id} {obj.status.state}/{obj.desired_state} {obj.status.err}"
        )
    return f"{type(obj).__name__} {obj.id}"


class Leader:
    """The loops of one term, driven by hand; losing the term throws them away."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.loops: list[tuple[Loop, FeedSubscription]] = []
        self.fence = Fence(0)
        self.log: list[str] = []
        self.interfere: Callable[[list[Change]], None] | None = None
        """Called between deciding and writing: where others' writes conflict with a loop's."""

    def elect(self) -> None:
        """A new leader: the epoch rises, all loops start from nothing."""
        self.abdicate()
        world = self._world
        world.store.epoch += 1
        self.fence = Fence(world.store.epoch)
        for loop in world.make_loops():
            subscription = FeedSubscription(frozenset(loop.kinds))
            world.store._feed._subscriptions.add(subscription)
            loop.reset(world.view)
            self.loops.append((loop, subscription))

    def abdicate(self) -> None:
        for _, subscription in self.loops:
            self._world.store._feed._subscriptions.discard(subscription)
        self.loops = []

    def turn(self, which: Iterable[int] | None = None) -> None:
        """One plan of each loop (or of those named), each written before the next decides."""
        if not self.loops:
            self.elect()
        for number in range(len(self.loops)) if which is None else which:
            self.step(*self.loops[number % len(self.loops)])

    def step(self, loop: Loop, subscription: FeedSubscription) -> None:
        self.decide(loop, subscription)
        for check in self._world.on_commit:
            check()
        if isinstance(loop, Orchestrator) and not self.behind(loop, subscription):
            for check in self._world.on_decided:
                check()

    def behind(self, loop: Loop, subscription: FeedSubscription) -> bool:
        at = loop.wake_at()
        return subscription._lost or (at is not None and at <= self._world.now)

    def decide(self, loop: Loop, subscription: FeedSubscription) -> None:
        world = self._world
        try:
            loop.observe(subscription.drain())
        except Resync:
            loop.reset(world.view)
        changes = loop.plan(world.view, world.now)
        if not changes:
            return
        self.log += [f"{type(loop).__name__} {type(c).__name__} {brief(c.obj)}" for c in changes]
        del self.log[:-200]
        assert len(changes) < world.budget * 3 + 500, "a plan kept the manager for too long"
        if self.interfere is not None:
            self.interfere(changes)
        try:
            loop.refused(world.store.commit_many_now(changes, self.fence))
        except Fenced:
            self.abdicate()

    def busy(self) -> bool:
        now = self._world.now
        return any((at := loop.wake_at()) is not None and at <= now for loop, _ in self.loops)


class Agent:
    """One node's agent: does what it is assigned, reports states that only rise."""

    def __init__(self, world: World, node_id: str) -> None:
        self._world = world
        self.node_id = node_id
        self.connected = True
        self.slow = False
        self.containers: dict[str, int] = {}
        """Tasks whose container runs here, whatever the managers know."""
        self.fails: Callable[[Task], bool] = lambda task: "crash" in task.spec.container.image
        self.completes: Callable[[Task], bool] = lambda task: "job" in task.spec.container.image

    def turn(self) -> None:
        """One step of each of the node's tasks."""
        if not self.connected:
            return
        assigned = {
            t.id: t
            for t in self._world.view.tasks.of_node(self.node_id).values()
            if t.status.state >= ASSIGNED
        }
        for task_id in list(self.containers):
            # What a session's first assignments do not name is stopped and forgotten.
            if task_id not in assigned:
                del self.containers[task_id]
        for task in assigned.values():
            self._step(task)

    def _step(self, task: Task) -> None:
        world, state = self._world, task.status.state
        if state > RUNNING:
            self.containers.pop(task.id, None)
            return
        if task.desired_state > RUNNING:
            if not self.slow or task.desired_state == REMOVE:
                self.containers.pop(task.id, None)
                world.report(task.id, SHUTDOWN)
            return
        if self.slow and state >= ACCEPTED:
            return
        if state == ASSIGNED:
            world.report(task.id, ACCEPTED)
        elif state == ACCEPTED:
            world.report(task.id, PREPARING)
        elif state == PREPARING:
            if "reject" in task.spec.container.image:
                world.report(task.id, REJECTED, "no such image")
            else:
                world.report(task.id, READY)
        elif state == READY and task.desired_state == RUNNING:
            world.report(task.id, STARTING)
        elif state == STARTING:
            self._start(task)
        elif state == RUNNING and task.id not in self.containers:
            world.report(task.id, FAILED, "the container is gone")

    def _start(self, task: Task) -> None:
        if self.fails(task):
            self._world.report(task.id, FAILED, "exit code 1")
        elif self.completes(task):
            self._world.report(task.id, COMPLETE)
        else:
            self.containers[task.id] = int(self._world.now)
            self._world.report(task.id, RUNNING)

    def kill(self, task_id: str, state=FAILED) -> None:
        """A container ends by itself."""
        if self.containers.pop(task_id, None) is not None and self.connected:
            self._world.report(task_id, state, "exit code 137" if state == FAILED else "")


def service_spec(name: str, image: str = "web:1", replicas: int | None = 1) -> ServiceSpec:
    """A small service: replicated, or global with replicas None."""
    spec = ServiceSpec()
    spec.annotations.name = name
    spec.task.container.image = image
    if replicas is None:
        getattr(spec, "global").SetInParent()
    else:
        spec.replicated.replicas = replicas
    return spec
