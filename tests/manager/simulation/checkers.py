"""What must hold in the simulated cluster: at every write, and once it has come to rest."""

from __future__ import annotations

from collections import Counter, defaultdict

from world import World

from swarmlite.manager.allocator.loop import Allocator
from swarmlite.manager.dependencies import waiting_for
from swarmlite.manager.restart import must_leave
from swarmlite.manager.store.tables import place_of
from swarmlite.model.task_states import ASSIGNED, COMPLETE, READY, RUNNING
from swarmlite.model.validate.endpoint import meet
from swarmlite.proto.objects_pb2 import Service, Task
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeStatus, PortConfig, UpdateConfig, UpdateStatus


class Broken(AssertionError):
    """An invariant does not hold."""


class Checkers:
    """Invariants of one world; `always` runs at every write."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._states: dict[str, tuple[int, int, str]] = {}
        self._vips: dict[tuple[str, str], str] = {}
        self._start_first: set[str] = set()
        self._checked = -1
        self._paused: dict[str, int] = {}
        world.on_commit.append(self.always)
        world.on_decided.append(self.one_desired_task_a_place)
        world.on_settled.append(self.one_container_a_place)

    def always(self) -> None:
        if self._checked == self._world.view.revision:
            return
        self._checked = self._world.view.revision
        self.states_only_rise()
        self.no_address_given_twice()
        self.vips_stay()
        self.paused_updates_stay_paused()
        self.no_port_published_twice()

    def states_only_rise(self) -> None:
        for task in self._world.view.tasks:
            state, desired, node_id = self._states.get(task.id, (0, 0, ""))
            if task.status.state < state or task.desired_state < desired:
                raise Broken(f"task {task.id} fell from {state}/{desired}")
            if node_id and task.node_id != node_id:
                raise Broken(f"task {task.id} moved from {node_id} to {task.node_id}")
            self._states[task.id] = task.status.state, task.desired_state, task.node_id

    def one_desired_task_a_place(self) -> None:
        view = self._world.view
        desired: Counter[object] = Counter()
        for task in view.tasks:
            if task.desired_state != RUNNING or task.status.state > RUNNING:
                continue
            if task.node_id and must_leave(view.nodes.get(task.node_id)):
                continue
            desired[place_of(task)] += 1
        for place, count in desired.items():
            if count > 1 + self._may_start_first(place[0]):
                raise Broken(f"{count} tasks are desired to run in {place}")

    def one_container_a_place(self) -> None:
        """On nodes that answer; a minute is all that a slow one is waited for."""
        view = self._world.view
        found: Counter[object] = Counter()
        for agent in self._world.agents.values():
            if agent.connected and not agent.slow:
                found.update(place_of(view.tasks.get(i)) for i in agent.containers)
        for place, count in found.items():
            if count > 1 + self._may_start_first(place[0]):
                raise Broken(f"{count} containers run in {place}")

    def paused_updates_stay_paused(self) -> None:
        for service in self._world.view.services:
            state, version = service.update_status.state, service.spec_version.index
            paused = state in (UpdateStatus.PAUSED, UpdateStatus.ROLLBACK_PAUSED)
            if self._paused.get(service.id) == version and not paused:
                raise Broken(f"the paused update of {service.id} went on")
            if paused:
                self._paused[service.id] = version

    def _may_start_first(self, service_id: str) -> bool:
        service = self._world.view.services.get(service_id)
        if service is not None:
            configs = (service.spec.update, service.spec.rollback)
            if any(c.order == UpdateConfig.START_FIRST for c in configs):
                self._start_first.add(service_id)
        return service_id in self._start_first

    def no_address_given_twice(self) -> None:
        view = self._world.view
        seen: dict[tuple[str, str], str] = {}

        def see(network_id: str, address: str, who: str) -> None:
            key = network_id, address.partition("/")[0]
            if seen.setdefault(key, who) != who:
                raise Broken(f"{address} was given to {seen[key]} and to {who}")

        for network in view.networks:
            for config in network.ipam.configs:
                see(network.id, config.gateway, "gateway")
        for service in view.services:
            for vip in service.endpoint.virtual_ips:
                see(vip.network_id, vip.addr, service.id)
        for node in view.nodes:
            for attachment in node.attachments:
                see(attachment.network_id, attachment.addresses[0], node.id)
        for task in view.tasks:
            if task.status.state <= RUNNING:
                for attachment in task.networks:
                    for address in attachment.addresses:
                        see(attachment.network_id, address, task.id)

    def vips_stay(self) -> None:
        for service in self._world.view.services:
            for vip in service.endpoint.virtual_ips:
                key = service.id, f"{vip.network_id} {':' in vip.addr}"
                if self._vips.setdefault(key, vip.addr) != vip.addr:
                    raise Broken(f"the VIP of {service.id} went from {self._vips[key]}")

    def no_port_published_twice(self) -> None:
        seen: list[tuple[str, PortConfig]] = []
        for service in self._world.view.services:
            for port in service.endpoint.ports:
                if port.publish_mode != PortConfig.INGRESS:
                    continue
                for other, taken in seen:
                    if other != service.id and meet(port, taken):
                        raise Broken(f"port {port.published_port} of {other} and {service.id}")
                seen.append((service.id, port))

    # --- once at rest, with every node back and active

    def at_rest(self) -> None:
        view = self._world.view
        for service in view.services:
            self._converged(service)
        known = set(view.services._objects)
        orphans = [t.id for t in view.tasks if t.service_id not in known]
        if orphans:
            raise Broken(f"tasks of removed services are left: {orphans}")
        self._containers_are_desired()
        self._history_is_bounded()
        self._nothing_leaked()

    def _converged(self, service: Service) -> None:
        running = Counter(place_of(t)[1] for t in self._world.running(service.id))
        if any(count > 1 for count in running.values()):
            raise Broken(
                f"{service.id} has more than one task running in a place\n{self.dump(service)}"
            )
        state = service.update_status.state
        waits = bool(waiting_for(service.spec, self._world.view))
        if state in (UpdateStatus.UPDATING, UpdateStatus.ROLLBACK_STARTED) and not waits:
            raise Broken(f"the update of {service.id} never ends: {service.update_status}")
        if waits or not self._can_run(service):
            return
        if service.HasField("rebalance"):
            raise Broken(f"the rebalancing of {service.id} never ends: {service.rebalance}")
        wanted = self._wanted(service)
        if len(running) != wanted:
            raise Broken(
                f"{service.id}: {len(running)} of {wanted} run, {state}\n{self.dump(service)}"
            )

    def _can_run(self, service: Service) -> bool:
        """Not what crashes or is rejected, nor where an update to such stopped half way."""
        stopped = (UpdateStatus.PAUSED, UpdateStatus.ROLLBACK_PAUSED)
        image = service.spec.task.container.image
        return service.update_status.state not in stopped and "web" in image

    def _wanted(self, service: Service) -> int:
        if service.spec.stopped:
            return 0
        if service.spec.WhichOneof("mode") == "replicated":
            return service.spec.replicated.replicas
        return sum(
            node.status.state == NodeStatus.READY and node.spec.availability == NodeSpec.ACTIVE
            for node in self._world.view.nodes
        )

    def _containers_are_desired(self) -> None:
        for agent in self._world.agents.values():
            for task_id in agent.containers:
                task = self._world.view.tasks.get(task_id)
                if task is None or task.desired_state > RUNNING or task.node_id != agent.node_id:
                    raise Broken(f"container of {task_id} is left on {agent.node_id}")

    def _history_is_bounded(self) -> None:
        limit = self._world.view.cluster.spec.orchestration.task_history_retention_limit
        ended: defaultdict[object, list[Task]] = defaultdict(list)
        for task in self._world.view.tasks:
            if task.status.state > RUNNING and task.desired_state > READY:
                ended[place_of(task)].append(task)
        for place, tasks in ended.items():
            attempts = tasks[0].spec.restart.max_attempts
            jobs = sum(t.status.state == COMPLETE for t in tasks)
            if len(tasks) > max(limit, attempts + 1 if attempts else 0) + 1 + jobs:
                raise Broken(f"{len(tasks)} ended tasks are kept in {place}")
        for task in self._world.view.tasks:
            if task.desired_state > RUNNING and task.status.state < ASSIGNED:
                raise Broken(f"task {task.id} was never assigned and is kept")

    def _nothing_leaked(self) -> None:
        """A new allocator that reads the store knows of as many addresses as the one at work."""
        at_work = next(loop for loop, _ in self._world.leader.loops if isinstance(loop, Allocator))
        fresh = Allocator()
        fresh.reset(self._world.view)
        for network_id, pools in fresh.state.pools.items():
            used = [pool.used for pool in at_work.state.pools[network_id]]
            if used != [pool.used for pool in pools]:
                raise Broken(f"{used} addresses of {network_id} are taken, not {pools[0].used}")

    def dump(self, service: Service) -> str:
        return f"{service.update_status.message} v{service.spec_version.index}\n" + "\n".join(
            f"{t.id} slot {t.slot} v{t.spec_version.index} {t.node_id} "
            f"{t.status.state}/{t.desired_state} {t.status.err}"
            for t in self._world.tasks(service.id)
        )
