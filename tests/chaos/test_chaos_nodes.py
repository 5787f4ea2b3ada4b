"""Nodes are cut off, lose power, flap and are drained: the cluster is whole again."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from chaos_world import PORT, USUAL, Whole, answers, ask, converged, seeds, served
from steady_load import standing

from swarmlite.testing import Cluster, checkers, sampler

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

World = tuple[Cluster, str]


def test_an_isolated_worker_is_replaced_and_its_copies_go_after_the_heal(whole: Whole) -> None:
    cluster = whole.cluster
    worker, others = cluster.workers[1], [cluster.manager, cluster.workers[0]]
    load = whole.load
    with sampler.Sampler(cluster.hosts) as watched, load.excused(worker):
        with load.excused():
            cluster.isolate(worker)
            on_others = lambda: [s for s in standing(others) if s.task.startswith("web.")]  # noqa: E731
            cluster.wait(lambda: len(on_others()) == 3, 20, "three copies on the hosts left")
        # 3 s after a backend has left nothing goes to it: of that the load is judged.
        load.answered(40)
        for host in others:
            for _ in range(12):
                assert host.get(8080)
        # The copies that were cut off go on: they cannot know better.
        assert standing([worker])
        cluster.heal()
        healed = time.monotonic()
        converged(cluster, "web", 3, 10)
        # All that was cut off goes, or comes back, within ten seconds, and the grace sees no less.
        cluster.wait(cluster._all_ready, 10, "every node to be Ready")
        time.sleep(2)
    late = [(at, seen) for at, seen in watched.samples if at >= healed]
    checkers.none(checkers.one_a_place(late, grace_s=10))
    whole.no_leaks()
    assert ask(worker)


@pytest.mark.parametrize("cut_s", [10, 20, 60])
def test_names_answer_through_a_cut_of_the_network_and_at_once_after_it(
    whole: Whole, cut_s: float
) -> None:
    """For the others throughout, whether the node was given up meanwhile or not; for the node too,
    and its clients are served again as soon as the network is back.
    """
    cluster = whole.cluster
    worker = cluster.workers[1]
    whole.load.answered(20)
    whole.load.name_s = 3
    with whole.load.excused():
        cluster.isolate(worker)
        time.sleep(cut_s)
        cluster.heal()
        cluster.wait(lambda: ask(worker, timeout_s=2), 10, "the service, from the node itself")
        cluster.wait(lambda: worker.get(PORT, timeout_s=2), 10, "the service, by the node's port")
        cluster.wait(cluster._all_ready, 60, "every node to be Ready")
    whole.load.answered(20)
    converged(cluster, "web", 3, 60)
    assert all(host.get(PORT) for host in cluster.hosts)
    whole.no_leaks(40)


def test_power_cuts_leave_the_disk_usable(whole: Whole) -> None:
    cluster = whole.cluster
    worker, manager = cluster.workers[0], cluster.manager
    with whole.load.excused():
        worker.restart()
        cluster.wait(cluster._all_ready, 20, "the worker to rejoin by itself")
        converged(cluster, "web", 3)
        converged(cluster, "client", 3)
        served(cluster)
    whole.no_leaks(40)
    survivors = standing(cluster.workers)
    with whole.load.excused():
        manager.kill()
        for host in cluster.workers:
            # While there is no manager nobody takes the dead host's backends out: one of three, or
            # two after the worker's restart.
            assert any(answers(host) for _ in range(30))
        manager.boot()
        cluster.wait(cluster._all_ready, 30, "every node to be Ready")
        assert converged(cluster, "web", 3) < 30
        converged(cluster, "client", 3)
        served(cluster)
    gone = checkers.untouched(survivors, standing(cluster.workers))
    checkers.none(gone, "tasks on other hosts were touched by the manager's power cut:")
    whole.no_leaks(40)


def test_a_drain_and_what_follows_it_cost_no_request(whole: Whole) -> None:
    """Backends leave before they end, and come once they answer; twice, as on a host's upgrade."""
    cluster = whole.cluster
    for worker in cluster.workers:
        others = {seen for seen in standing(cluster.hosts) if seen.host != worker.name}
        whole.load.answered(20)
        cluster.manager.cli("node", "update", "--availability", "drain", worker.name)
        cluster.wait(lambda host=worker: not standing([host]), 60, "the worker to be empty")  # type: ignore[misc]
        converged(cluster, "web", 3)
        checkers.none(checkers.untouched(others, standing(cluster.hosts)), "tasks elsewhere:")
        cluster.manager.cli("node", "update", "--availability", "active", worker.name)
        converged(cluster, "client", 3)
    whole.load.answered(20)
    whole.no_leaks(40)


@pytest.mark.parametrize("seed", seeds(USUAL))
def test_a_flapping_link_and_loss_are_ridden_out(whole: Whole, seed: int) -> None:
    cluster = whole.cluster
    worker, manager = cluster.workers[0], cluster.manager
    before = standing(cluster.hosts)
    with whole.load.excused():
        chance = random.Random(seed)
        for _ in range(6):  # shorter than three heartbeats: no reason to move anything
            cluster.cut(worker, manager)
            time.sleep(chance.uniform(0.2, 1.5))
            cluster.heal()
            time.sleep(chance.uniform(0.2, 1.0))
        cluster.wait(cluster._all_ready, 10, "every node to be Ready")
        converged(cluster, "web", 3)
        checkers.none(checkers.untouched(before, standing(cluster.hosts)))
        for a, b in itertools.combinations(cluster.hosts, 2):
            cluster.lose(a, b, 20)
        cluster.manager.cli("service", "scale", "-d", "web=6")
        converged(cluster, "web", 6, 60)
        answered = 0
        for _ in range(15):
            try:
                answered += bool(ask(worker, timeout_s=8))
            except OSError:
                continue
        assert answered >= 12
        cluster.heal()
        cluster.wait(cluster._all_ready, 20, "every node to be Ready")
        converged(cluster, "web", 6, 30)
    whole.no_leaks()


def test_state_of_the_kernel_deleted_by_hand_is_repaired(whole: Whole) -> None:
    cluster = whole.cluster
    worker = cluster.workers[0]

    def healthy() -> bool:
        return all(ask(worker, timeout_s=1) and worker.get(8080, timeout_s=1) for _ in range(6))

    assert cluster.wait(healthy, 10, "the service")
    netns = [p.name for p in worker.paths.netns_dir.glob("net-*")]
    breaks = [("nft", "flush", "ruleset"), ("ip", "rule", "del", "pref", "5347")]
    for name in netns:
        inside = ("nsenter", f"--net={worker.paths.netns_dir}/{name}")
        shown = worker.run(*inside, "ip", "-br", "link", "show", "type", "vxlan").stdout.split()
        if shown:
            breaks.append((*inside, "ip", "link", "del", shown[0]))
            breaks.append((*inside, "bridge", "fdb", "flush", "dev", shown[0]))
        breaks.append((*inside, "nft", "flush", "ruleset"))
        breaks.append((*inside, "ip", "neigh", "flush", "nud", "permanent", "all"))
    with whole.load.excused():
        for command in breaks:
            worker.run(*command, check=False)
            begun = time.monotonic()
            cluster.wait(healthy, 10, f"the repair of {' '.join(command)}")
            assert time.monotonic() - begun < 12, command
    whole.no_leaks()
