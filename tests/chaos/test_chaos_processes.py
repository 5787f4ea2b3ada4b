"""A node's own processes die, at any moment: containers, VIPs, names and ports go on."""

from __future__ import annotations

import random
import signal
import time

import pytest
from chaos_world import USUAL, Prober, Whole, ask, converged, moments, seeds, served, vip
from steady_load import standing

from swarmlite.testing import checkers, sampler

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600), pytest.mark.usefixtures("patient")]

SEEDS = seeds(USUAL)


@pytest.fixture
def patient(whole: Whole) -> None:
    """Nobody answers for names while a host's agent is away: who asks again gets them late."""
    whole.load.name_s = 600


def test_containers_outlive_every_process_of_their_node(whole: Whole) -> None:
    cluster = whole.cluster
    worker, manager = cluster.workers[0], cluster.manager
    before = standing(cluster.hosts)
    # Not to be refused or cut even once: what is down is the control, not the data.
    with Prober(worker) as prober, Prober(manager) as at_manager:
        for name, host in (
            ("agent", worker), ("agent", manager), ("manager", manager), ("etcd", manager),
        ):  # fmt: skip
            host.signal_process(name, signal.SIGKILL)
            # By name: its questions wait for the agent, and a resolver gives up after 10 s.
            cluster.wait(lambda host=host: ask(host), 30, f"an answer after {name} was killed")  # type: ignore[misc]
            checkers.none(checkers.untouched(before, standing(cluster.hosts)), name)
            converged(cluster, "web", 3)
        for host in (worker, manager):
            address = vip(host)  # nobody answers for names while no agent runs
            host.kill_daemon()
            assert ask(host, f"http://{address}/")
            time.sleep(0.5)
            host.start_daemon()
            converged(cluster, "web", 3)
        time.sleep(1)
    checkers.none(checkers.untouched(before, standing(cluster.hosts)))
    assert prober.asked > 20
    assert (prober.failures, at_manager.failures) == ([], [])
    whole.no_leaks()


def test_names_are_answered_late_when_the_agent_was_frozen(whole: Whole) -> None:
    cluster = whole.cluster
    worker = cluster.workers[0]
    before = standing(cluster.hosts)
    address = vip(worker)
    worker.freeze("agent")
    assert ask(worker, f"http://{address}/")
    assert worker.get(8080)
    worker.thaw("agent")
    assert ask(worker)
    # A whole manager host: its own tasks stand still, the others' go on.
    with Prober(worker) as prober:
        cluster.manager.freeze("manager")
        cluster.manager.freeze("etcd")
        time.sleep(8)
        assert ask(worker)
        cluster.manager.thaw("etcd")
        cluster.manager.thaw("manager")
        converged(cluster, "web", 3)
    assert prober.failures == []
    checkers.none(checkers.untouched(before, standing(cluster.hosts)))


def test_a_dead_supervisor_costs_its_containers_and_nothing_else(whole: Whole) -> None:
    cluster = whole.cluster
    worker = cluster.workers[0]
    others = [h for h in cluster.hosts if h is not worker]
    before = standing(others)
    with sampler.Sampler(cluster.hosts) as watched:
        died = standing([worker])
        worker.signal_process("supervisor", signal.SIGKILL)
        cluster.wait(lambda: not died & standing([worker]), 30, "its containers to die")
        assert converged(cluster, "web", 3) < 20
        converged(cluster, "client", 3)
    checkers.none(checkers.untouched(before, standing(others)))
    checkers.none(checkers.one_a_place(watched.samples, grace_s=10))
    cluster.wait(lambda: ask(worker), 10, "an answer on the worker")
    whole.no_leaks()


@pytest.mark.parametrize("seed", SEEDS)
def test_agents_killed_in_every_step_leave_nothing(whole: Whole, seed: int) -> None:
    cluster = whole.cluster
    chance = random.Random(seed)
    with whole.load.excused(), sampler.Sampler(cluster.hosts) as watched:
        for pause_s in moments(seed, 8, 2.5):
            cluster.manager.cli("service", "scale", "-d", f"web={chance.choice((0, 2, 8, 14))}")
            time.sleep(pause_s)
            for host in cluster.hosts:
                host.signal_process("agent", signal.SIGKILL)
            cluster.wait(lambda: all(h.node_pid("agent") for h in cluster.hosts), 15, "agents")
        quiet = time.monotonic()
        cluster.manager.cli("service", "scale", "-d", "web=4")
        assert converged(cluster, "web", 4, 60) < 30
        time.sleep(1)
    after = [(at, seen) for at, seen in watched.samples if at > quiet]
    checkers.none(checkers.one_a_place(after, grace_s=10))
    whole.no_leaks(40)
    whole.load.answered(20)
    whole.load.end()  # what it asks for goes
    cluster.manager.cli("service", "rm", "web", "client")
    cluster.wait(lambda: not standing(cluster.hosts), 20, "no container")
    whole.no_leaks(15)


@pytest.mark.parametrize("seed", SEEDS)
def test_daemons_killed_at_random_moments_converge(whole: Whole, seed: int) -> None:
    cluster = whole.cluster
    chance = random.Random(seed)
    with whole.load.excused():
        for pause_s in moments(seed, 6, 1.0):
            cluster.manager.cli("service", "scale", "-d", f"web={chance.choice((1, 4, 8))}")
            time.sleep(pause_s)
            host = chance.choice(cluster.hosts)
            if chance.random() < 0.5:
                host.signal_process("supervisor", signal.SIGKILL)
            host.kill_daemon()
            host.start_daemon()
            cluster.wait(cluster._all_ready, 30, "every node to be Ready")
        cluster.manager.cli("service", "scale", "-d", "web=4")
        assert converged(cluster, "web", 4, 60) < 30
        served(cluster)
    whole.no_leaks(40)
