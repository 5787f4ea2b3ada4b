"""Thousands of interleavings of calls, faults, reports and changes of leader."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from checkers import Broken, Checkers
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from world import World, copy_of, service_spec

from swarmlite.errors import Conflict
from swarmlite.manager.store.api import Change, Fenced, Put, Resync
from swarmlite.model.units import duration
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeStatus, PortConfig, UpdateConfig

MEMORY = 1 << 30
PICK = st.integers(0, 1000)
CONVERGES_WITHIN_S = 30.0


def bounded(examples: int) -> settings:
    """The same examples at every run; SWARMLITE_SIMULATION=N runs other ones, N of them."""
    wanted = int(os.environ.get("SWARMLITE_SIMULATION", "0"))
    return settings(
        max_examples=wanted or examples,
        stateful_step_count=40,
        derandomize=not wanted,
        database=None,
        deadline=None,
        phases=[Phase.generate, *([Phase.shrink] if os.environ.get("SHRINK") else [])],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


class Cluster(RuleBasedStateMachine):
    """A cluster whose users, nodes and leaders do as they please."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(budget=7)
        self.checkers = Checkers(self.world)
        self.networks = [self.world.add_network("front"), self.world.add_network("back")]
        for _ in range(3):
            self.world.add_node()
        self.names = 0

    def service(self, pick: int) -> str:
        ids = sorted(s.id for s in self.world.view.services)
        return ids[pick % len(ids)]

    def node(self, pick: int) -> str:
        ids = sorted(self.world.agents)
        return ids[pick % len(ids)]

    has_services = precondition(lambda self: len(self.world.view.services) > 0)

    @initialize(
        action=st.sampled_from([UpdateConfig.PAUSE, UpdateConfig.CONTINUE, UpdateConfig.ROLLBACK]),
        order=st.sampled_from([UpdateConfig.STOP_FIRST, UpdateConfig.START_FIRST]),
    )
    def begin(self, action, order):
        """Two services run before anything happens."""
        self.create(3, 1, 8080, order, action, 1, 1, 0.0)
        self.create(None, 2, None, order, action, 1, 0, 0.5)
        self.world.run(1.0)

    @precondition(lambda self: len(self.world.view.services) < 4)
    @rule(
        replicas=st.sampled_from([None, 0, 1, 2, 3, 4]),
        networks=st.integers(0, 2),
        port=st.sampled_from([None, None, 0, 8080]),
        order=st.sampled_from([UpdateConfig.STOP_FIRST, UpdateConfig.START_FIRST]),
        action=st.sampled_from([UpdateConfig.PAUSE, UpdateConfig.CONTINUE, UpdateConfig.ROLLBACK]),
        parallelism=st.integers(0, 2),
        delay=st.integers(0, 3),
        ratio=st.sampled_from([0.0, 0.5]),
        memory=st.sampled_from([0, MEMORY // 10]),
    )
    def create(self, replicas, networks, port, order, action, parallelism, delay, ratio, memory=0):
        self.names += 1
        spec = service_spec(f"s{self.names}", "web:1", replicas)
        for network in self.networks[:networks]:
            spec.task.networks.add(target=network)
        if port is not None and not self.taken(port):
            spec.endpoint.ports.add(
                target_port=80, published_port=port, publish_mode=PortConfig.INGRESS
            )
        # A crash loop without a delay would never let the clock move on.
        spec.task.restart.delay.CopyFrom(duration(max(delay, 1) * 10**9))
        for config in (spec.update, spec.rollback):
            config.order, config.parallelism = order, parallelism
            config.failure_action, config.max_failure_ratio = action, ratio
            config.monitor.CopyFrom(duration(2 * 10**9))
            config.delay.CopyFrom(duration(delay * 10**9))
        spec.rollback.failure_action = UpdateConfig.PAUSE
        spec.task.resources.reservations.memory_bytes = memory
        self.world.create_service(spec)

    def taken(self, port: int) -> bool:
        return any(
            p.published_port == port
            for s in self.world.view.services
            for p in s.spec.endpoint.ports
        )

    @has_services
    @rule(pick=PICK, image=st.sampled_from(["web:1", "web:2", "web:3", "crash:1", "reject:1"]))
    def update(self, pick, image):
        def change(spec):
            spec.task.container.image = image

        self.world.update_service(self.service(pick), change)

    @has_services
    @rule(pick=PICK, image=st.sampled_from(["web:1", "web:2", "crash:1"]))
    def update_and_wait(self, pick, image):
        self.update(pick, image)
        self.world.run(3.0)

    @has_services
    @rule(pick=PICK, replicas=st.integers(0, 5))
    def scale(self, pick, replicas):
        service_id = self.service(pick)
        if self.world.view.services.get(service_id).spec.WhichOneof("mode") == "replicated":
            self.world.scale(service_id, replicas)

    @has_services
    @rule(pick=PICK)
    def roll_back(self, pick):
        self.world.roll_back(self.service(pick))

    @has_services
    @rule(pick=PICK, stopped=st.booleans())
    def stop_or_start(self, pick, stopped):
        self.world.stop(self.service(pick), stopped)

    @has_services
    @rule(pick=PICK)
    def rebalance(self, pick):
        service_id = self.service(pick)
        if self.world.view.services.get(service_id).spec.WhichOneof("mode") == "replicated":
            self.world.rebalance(service_id)

    @has_services
    @rule(pick=PICK, on=PICK, condition=st.sampled_from([0, 1]))
    def depend(self, pick, on, condition):
        """On one that was there before, so that none wait for each other."""
        service_id, other = sorted((self.service(pick), self.service(on)))[::-1]
        if service_id != other:
            name = self.world.view.services.get(other).spec.annotations.name

            def change(spec):
                del spec.depends_on[:]
                spec.depends_on.add(service=name, condition=condition)

            self.world.update_service(service_id, change)

    @has_services
    @rule(pick=PICK)
    def remove(self, pick):
        self.world.remove_service(self.service(pick))

    @precondition(lambda self: len(self.world.agents) < 5)
    @rule()
    def add_node(self):
        self.world.add_node()

    @rule(pick=PICK)
    def cut(self, pick):
        self.world.cut(self.node(pick))

    @rule(pick=PICK)
    def crash_node(self, pick):
        self.world.crash(self.node(pick))

    @rule(pick=PICK)
    def heal(self, pick):
        self.world.heal(self.node(pick))

    @rule(pick=PICK, to=st.sampled_from([NodeSpec.ACTIVE, NodeSpec.DRAIN, NodeSpec.PAUSE]))
    def set_availability(self, pick, to):
        self.world.set_availability(self.node(pick), to)

    @precondition(lambda self: len(self.world.agents) > 3)
    @rule(pick=PICK)
    def remove_node(self, pick):
        self.world.remove_node(self.node(pick))

    @rule(pick=PICK, slow=st.booleans())
    def slow_down(self, pick, slow):
        self.world.agents[self.node(pick)].slow = slow

    @rule(pick=PICK)
    def kill_container(self, pick):
        running = sorted(i for a in self.world.agents.values() for i in a.containers)
        if running:
            task_id = running[pick % len(running)]
            for agent in self.world.agents.values():
                agent.kill(task_id)

    @rule(which=st.lists(st.integers(0, 4), min_size=1, max_size=8))
    def loops_act(self, which):
        self.world.leader.turn(which)

    @rule(pick=PICK)
    def agent_acts(self, pick):
        self.world.agents[self.node(pick)].turn()

    @rule(pick=PICK)
    def conflict(self, pick):
        """Somebody writes an object between a loop's decision and its write."""

        def interfere(changes: list[Change]) -> None:
            obj = changes[pick % len(changes)].obj
            if obj.meta.version.index:
                with suppress(Conflict):
                    self.world.store.commit_now(
                        [
                            Put(
                                copy_of(
                                    obj.__class__.FromString(self.stored(obj).SerializeToString())
                                )
                            )
                        ]
                    )
            self.world.leader.interfere = None

        self.world.leader.interfere = interfere

    def stored(self, obj):
        kind = type(obj).__name__.lower()
        return self.world.view.table(kind).get(obj.id)

    @rule()
    def elect(self):
        self.world.leader.elect()

    @rule(which=st.integers(0, 4))
    def stale_leader_writes(self, which):
        """A leader that was frozen decides once more after its successor was elected."""
        leader = self.world.leader
        if not leader.loops:
            return
        (loop, subscription), fence = leader.loops[which], leader.fence
        leader.elect()
        with suppress(Resync):
            loop.observe(subscription.drain())
        changes = loop.plan(self.world.view, self.world.now)
        if changes:
            revision = self.world.view.revision
            with suppress(Fenced):
                self.world.store.commit_many_now(changes, fence)
                raise Broken("the writes of a former leader were taken")
            assert self.world.view.revision == revision

    @rule(which=st.integers(0, 4), written=st.integers(0, 5))
    def leader_dies_in_mid_write(self, which, written):
        """A part of what a loop decided is written; its successor makes the rest good."""
        leader = self.world.leader
        if not leader.loops:
            return
        loop, subscription = leader.loops[which]
        with suppress(Resync):
            loop.observe(subscription.drain())
        changes = loop.plan(self.world.view, self.world.now)
        self.world.store.commit_many_now(changes[:written], leader.fence)
        leader.elect()

    @rule(pick=PICK, size=st.sampled_from([MEMORY // 4, MEMORY]))
    def resize(self, pick, size):
        """A node has less memory than before, or has it back."""

        def change(node):
            node.description.resources.memory_bytes = size

        self.world.change_node(self.node(pick), change)

    @rule()
    def all_act(self):
        self.world.settle()

    @rule()
    def resync(self):
        self.world.store.resync()

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, 7.0]))
    def time_passes(self, seconds):
        self.world.run(seconds)

    def teardown(self) -> None:
        """The last fault is over: everything comes to rest as desired."""
        world = self.world
        world.leader.interfere = None
        for node_id, agent in world.agents.items():
            agent.slow = False
            if world.view.nodes.get(node_id).description.resources.memory_bytes != MEMORY:
                world.change_node(
                    node_id, lambda n: setattr(n.description.resources, "memory_bytes", MEMORY)
                )
            node = world.view.nodes.get(node_id)
            if node.status.state != NodeStatus.READY:
                world.heal(node_id)
            if node.spec.availability != NodeSpec.ACTIVE:
                world.set_availability(node_id, NodeSpec.ACTIVE)
        world.run(CONVERGES_WITHIN_S)
        self.checkers.at_rest()


@pytest.mark.timeout(600)  # it computes for a minute
def test_every_interleaving_keeps_the_invariants_and_converges():
    run_state_machine_as_test(Cluster, settings=bounded(150))
