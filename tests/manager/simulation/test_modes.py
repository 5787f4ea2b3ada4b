"""Interleavings of what Swarm has not: schedules, scaling, canaries, drains that replace first,
back-off, packing and rebalancing, with faults of nodes and changes of leader.
"""

from __future__ import annotations

import sys

import pytest
from checkers import Checkers
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mode_checkers import STEP_S, ModeCheckers
from test_checkers import broken
from test_interleavings import MEMORY, PICK, bounded
from world import World, copy_of, service_spec

from swarmlite.manager import autoscaler
from swarmlite.manager.orchestrator import jobs, rebalancing
from swarmlite.manager.orchestrator import loop as orchestrator
from swarmlite.manager.orchestrator.draining import Leaving
from swarmlite.manager.scheduler import ranking
from swarmlite.manager.store.api import Put
from swarmlite.manager.times import stamp
from swarmlite.model import defaults
from swarmlite.model.task_states import COMPLETE
from swarmlite.model.units import duration
from swarmlite.proto.specs_pb2 import NodeSpec, ServiceSpec
from swarmlite.proto.types_pb2 import (
    NodeStatus,
    Placement,
    RestartPolicy,
    UpdateConfig,
    UpdateStatus,
)

pytestmark = pytest.mark.timeout(600)  # they compute for a minute together
SECOND = 10**9
ADVANCE = sys.modules["swarmlite.manager.updater.advance"]  # its package has a function of the name


def specs() -> list[ServiceSpec]:
    """One service for each mode; the checkers know them by these names."""
    nightly = ServiceSpec(schedule="* * * * *")
    nightly.annotations.name, nightly.task.container.image = "nightly", "long:1"
    nightly.task.restart.condition = RestartPolicy.NONE
    nightly.replicated_job.total_completions = nightly.replicated_job.max_concurrent = 1
    elastic = service_spec("elastic", replicas=2)
    elastic.autoscale.min, elastic.autoscale.max, elastic.autoscale.cpu_percent = 2, 6, 50
    found = [nightly, elastic]
    for name in ("watched", "by-hand"):
        canary = service_spec(name, replicas=3)
        canary.update.parallelism, canary.update.canary = 2, 1
        canary.update.canary_by_hand = name == "by-hand"
        canary.update.monitor.CopyFrom(duration(10 * SECOND))
        canary.update.failure_action = UpdateConfig.ROLLBACK
        found.append(canary)
    gentle = service_spec("gentle", replicas=2)
    gentle.update.order = UpdateConfig.START_FIRST
    crashing = service_spec("crashing", "crash:1", replicas=1)
    crashing.task.restart.delay.CopyFrom(duration(SECOND))
    crashing.task.restart.max_delay.CopyFrom(duration(16 * SECOND))
    crashing.task.restart.backoff = 2.0
    packed = service_spec("packed", replicas=2)
    packed.task.placement.strategy = Placement.BINPACK
    packed.task.resources.reservations.memory_bytes = MEMORY // 4
    level = service_spec("level", replicas=4)
    level.rebalance_on_join = True
    return [*found, gentle, crashing, packed, level]


class Modes(RuleBasedStateMachine):
    """Users, nodes and leaders do as they please with one service of each mode."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(budget=7)
        Checkers(self.world)
        for _ in range(3):
            self.world.add_node()
        for spec in specs():
            self.world.create_service(spec)
        self.checkers = ModeCheckers(self.world)
        self.load = 1.0
        self.elects_after_a_join = False
        self.world.run(2.0)

    def id_of(self, name: str) -> str:
        return self.checkers.named(name).id

    def node(self, pick: int) -> str:
        ids = sorted(self.world.agents)
        return ids[pick % len(ids)]

    def let_pass(self, seconds: float) -> None:
        """With readings of what `elastic` uses on the way, as the dispatcher takes them."""
        for _ in range(int(seconds / STEP_S)):
            tasks = self.world.running(self.id_of("elastic"))
            self.checkers.measured(self.load)
            for task in tasks:
                changed = copy_of(task)
                changed.usage.nano_cpus = int(self.load * SECOND / len(tasks))
                stamp(changed.usage.measured_at, self.world.now)
                self.world.write(Put(changed))
            self.world.run(STEP_S, step=STEP_S)

    @rule(seconds=st.sampled_from([5.0, 5.0, 35.0, 65.0, 320.0]))
    def time_passes(self, seconds):
        self.let_pass(seconds)

    @rule(
        load=st.sampled_from([0.2, 1.0, 1.6, 3.0, 5.0]), seconds=st.sampled_from([0.0, 10.0, 65.0])
    )
    def load_changes(self, load, seconds):
        self.load = load
        self.let_pass(seconds)

    @rule()
    def the_job_ends(self):
        for task in self.world.running(self.id_of("nightly")):
            for agent in self.world.agents.values():
                agent.kill(task.id, COMPLETE)

    @rule(stopped=st.booleans())
    def stop_or_start_the_job(self, stopped):
        self.world.stop(self.id_of("nightly"), stopped)

    @rule(
        name=st.sampled_from(["watched", "by-hand"]),
        image=st.sampled_from(["web:2", "web:3", "web:4", "crash:1"]),
        seconds=st.sampled_from([0.0, 5.0, 20.0]),
    )
    def update_with_canaries(self, name, image, seconds):
        def change(spec):
            spec.task.container.image = image

        self.world.update_service(self.id_of(name), change)
        self.let_pass(seconds)

    @rule()
    def promote(self):
        service = copy_of(self.checkers.named("by-hand"))
        if service.update_status.state == UpdateStatus.UPDATING:
            self.checkers.promoted.add((service.id, service.spec_version.index))
            service.update_status.promoted = True
            self.world.write(Put(service))

    @rule(replicas=st.integers(0, 8))
    def scale_what_is_packed(self, replicas):
        self.world.scale(self.id_of("packed"), replicas)

    two_nodes_work = precondition(lambda self: self.working() > 1)

    def working(self) -> int:
        return sum(
            node.status.state == NodeStatus.READY and node.spec.availability == NodeSpec.ACTIVE
            for node in self.world.view.nodes
        )

    @two_nodes_work
    @rule(pick=PICK, deadline_s=st.sampled_from([20.0, 300.0]))
    def drain(self, pick, deadline_s):
        def change(node):
            node.spec.availability = NodeSpec.DRAIN
            stamp(node.drain_by, self.world.now + deadline_s)

        self.checkers.faults += 1
        self.world.change_node(self.node(pick), change)

    @two_nodes_work
    @rule(pick=PICK)
    def cut(self, pick):
        self.checkers.faults += 1
        self.world.cut(self.node(pick))

    @rule(pick=PICK)
    def come_back(self, pick):
        self.checkers.faults += 1
        self.world.heal(self.node(pick))
        self.world.set_availability(self.node(pick), NodeSpec.ACTIVE)

    @rule(which=st.lists(st.integers(0, 5), min_size=1, max_size=8))
    def loops_act(self, which):
        self.world.leader.turn(which)

    @rule(pick=PICK)
    def agent_acts(self, pick):
        self.world.agents[self.node(pick)].turn()

    @rule(after_a_join=st.booleans())
    def elect(self, after_a_join):
        self.elects_after_a_join |= after_a_join
        self.world.leader.elect()

    def teardown(self) -> None:
        """The last fault is over, and a node joins."""
        world = self.world
        self.checkers.faults += 1
        for node_id in world.agents:
            node = world.view.nodes.get(node_id)
            if node.status.state != NodeStatus.READY:
                world.heal(node_id)
            if node.spec.availability != NodeSpec.ACTIVE:
                world.set_availability(node_id, NodeSpec.ACTIVE)
        self.let_pass(60.0)
        world.add_node()
        if self.elects_after_a_join:
            world.leader.elect()
        self.let_pass(60.0)
        self.checkers.at_rest()


def test_every_interleaving_of_the_modes_keeps_their_rules():
    run_state_machine_as_test(Modes, settings=bounded(20))


def a_schedule_is_always_due(patch):
    patch.setattr(jobs, "next_after", lambda text, moment: moment)


def a_schedule_is_never_due(patch):
    patch.setattr(jobs, "next_after", lambda text, moment: moment + 10**6)


def runs_of_a_schedule_overlap(patch):
    patch.setattr(jobs, "RUNNING", -1)


def replicas_are_added_at_once(patch):
    patch.setattr(autoscaler, "GROW_AFTER_S", 0.0)


def replicas_are_taken_at_once(patch):
    patch.setattr(autoscaler, "SHRINK_AFTER_S", 0.0)


def scaling_knows_no_bounds(patch):
    scaled = autoscaler.scaled

    def without(service, view, now):
        boundless = copy_of(service)
        boundless.spec.autoscale.max = 100
        made = scaled(boundless, view, now)
        if made is not None:
            made.spec.CopyFrom(service.spec)
        return made

    patch.setattr(autoscaler, "scaled", without)


def canaries_are_all_of_them(patch):
    measure = ADVANCE.measure

    def without(turn, places):
        progress = measure(turn, places)
        progress.canaries = 0
        return progress

    patch.setattr(ADVANCE, "measure", without)


def canaries_are_not_watched(patch):
    patch.setattr(ADVANCE, "duration_s", lambda value: 0.0)


def a_drain_stops_first(patch):
    patch.setattr(Leaving, "__call__", lambda self, task: False)


def delays_do_not_grow(patch):
    patch.setattr(defaults, "MAX_EXPONENT", 0)


def packing_spreads(patch):
    patch.setattr(ranking, "Packed", ranking.Leaf)


def joins_are_not_noticed(patch):
    patch.setattr(orchestrator, "ask_for_moves", lambda turn: True)


def rebalancing_moves_nothing(patch):
    patch.setattr(rebalancing, "surplus", lambda counts: 0)


BUGS = [
    a_schedule_is_always_due,
    a_schedule_is_never_due,
    runs_of_a_schedule_overlap,
    replicas_are_added_at_once,
    replicas_are_taken_at_once,
    scaling_knows_no_bounds,
    canaries_are_all_of_them,
    canaries_are_not_watched,
    a_drain_stops_first,
    delays_do_not_grow,
    packing_spreads,
    joins_are_not_noticed,
    rebalancing_moves_nothing,
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_bug_put_into_a_mode_is_found(bug, monkeypatch):
    """Each bug breaks a rule in one of the examples."""
    bug(monkeypatch)
    with pytest.raises(BaseException) as caught:
        run_state_machine_as_test(Modes, settings=bounded(40))
    assert broken(caught.value), f"found something else: {caught.value!r}"
