"""Nodes are cut off, lose power, flap; managers die and freeze: the cluster is whole again."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest
from chaos_world import PORT, Namer, Prober, Whole, ask, converged, named, no_leaks, served, web

from swarmlite.testing import Cluster, Host, checkers, sampler

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

World = tuple[Cluster, str]


def test_an_isolated_worker_is_replaced_and_its_copies_go_after_the_heal(whole: Whole) -> None:
    cluster = whole.cluster
    worker, others = cluster.workers[1], [cluster.manager, cluster.workers[0]]
    with sampler.Sampler(cluster.hosts) as watched:
        cluster.isolate(worker)
        on_others = lambda: [  # noqa: E731
            s for s in sampler.containers(others) if s.task.startswith("web.")
        ]
        cluster.wait(lambda: len(on_others()) == 3, 20, "three copies on the hosts left")
        # 3 s after a backend has left nothing goes to it.
        time.sleep(3)
        for host in others:
            for _ in range(12):
                assert ask(host)
                assert host.get(8080)
        # The copies that were cut off go on: they cannot know better.
        assert sampler.containers([worker])
        cluster.heal()
        healed = time.monotonic()
        converged(cluster, "web", 3, 10)
        time.sleep(2)
    late = [(at, seen) for at, seen in watched.samples if at >= healed]
    checkers.none(checkers.one_a_place(late, grace_s=10))
    cluster.wait(cluster._all_ready, 10, "every node to be Ready")
    no_leaks(cluster)
    assert ask(worker)


@pytest.mark.parametrize("cut_s", [10, 20, 60])
def test_names_answer_through_a_cut_of_the_network_and_at_once_after_it(
    whole: Whole, cut_s: float
) -> None:
    """For the others throughout, whether the node was given up meanwhile or not; for the node too,
    and its clients are served again as soon as the network is back.
    """
    cluster = whole.cluster
    worker, others = cluster.workers[1], [cluster.manager, cluster.workers[0]]
    with Namer(cluster.hosts, "web", "tasks.web") as namer:
        asked = namer.asked
        cluster.wait(lambda: namer.asked > asked + 9, 60, "questions before the cut")
        cluster.isolate(worker)
        time.sleep(cut_s)
        cluster.heal()
        assert named(worker)
        cluster.wait(lambda: ask(worker, timeout_s=2), 10, "the service, from the node itself")
        cluster.wait(lambda: worker.get(PORT, timeout_s=2), 10, "the service, by the node's port")
        cluster.wait(cluster._all_ready, 60, "every node to be Ready")
        asked = namer.asked
        cluster.wait(lambda: namer.asked > asked + 9, 60, "questions after the cut")
    checkers.none(namer.failures, "names were not answered:")
    converged(cluster, "web", 3, 60)
    assert all(ask(host) and host.get(PORT) for host in others)
    no_leaks(cluster, 40)


def test_power_cuts_leave_the_disk_usable(whole: Whole) -> None:
    cluster = whole.cluster
    worker, manager = cluster.workers[0], cluster.manager
    cluster.manager.cli("volume", "ls")
    worker.restart()
    cluster.wait(cluster._all_ready, 20, "the worker to rejoin by itself")
    converged(cluster, "web", 3)
    converged(cluster, "client", 3)
    no_leaks(cluster, 40)
    served(cluster)
    survivors = sampler.containers(cluster.workers)
    manager.kill()
    for host in cluster.workers:
        # While there is no manager nobody takes the dead host's backend out: one of three is it.
        assert any(answers(host) for _ in range(6))
    manager.boot()
    cluster.wait(cluster._all_ready, 30, "every node to be Ready")
    assert converged(cluster, "web", 3) < 30
    converged(cluster, "client", 3)
    gone = checkers.untouched(survivors, sampler.containers(cluster.workers))
    checkers.none(gone, "tasks on other hosts were touched by the manager's power cut:")
    no_leaks(cluster, 40)
    served(cluster)


def test_a_flapping_link_and_loss_are_ridden_out(whole: Whole) -> None:
    cluster = whole.cluster
    worker, manager = cluster.workers[0], cluster.manager
    before = sampler.containers(cluster.hosts)
    chance = random.Random(3)
    for _ in range(6):  # shorter than three heartbeats: no reason to move anything
        cluster.cut(worker, manager)
        time.sleep(chance.uniform(0.2, 1.5))
        cluster.heal()
        time.sleep(chance.uniform(0.2, 1.0))
    cluster.wait(cluster._all_ready, 10, "every node to be Ready")
    converged(cluster, "web", 3)
    checkers.none(checkers.untouched(before, sampler.containers(cluster.hosts)))
    for a, b in ((worker, manager), (worker, cluster.workers[1]), (manager, cluster.workers[1])):
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
    no_leaks(cluster)


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
    for command in breaks:
        worker.run(*command, check=False)
        begun = time.monotonic()
        cluster.wait(healthy, 10, f"the repair of {' '.join(command)}")
        assert time.monotonic() - begun < 12, command
    no_leaks(cluster)


def answers(host: Host) -> bool:
    try:
        return bool(ask(host, timeout_s=2))
    except OSError:
        return False


def leader_of(cluster: Cluster, asked: Host) -> Host:
    """The leading manager as `asked` sees it."""
    shown = asked.cli("node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}")
    for line in shown.splitlines():
        if line.endswith("Leader"):
            return cluster.host(line.split()[0])
    raise OSError(f"no leader: {shown}")


def another(cluster: Cluster, than: Host) -> Host:
    """A manager that is not `than`; the cluster's `manager` from now on."""
    found = next(host for host in cluster.managers if host is not than)
    cluster.managers.sort(key=lambda host: host is not found)
    return found


def test_the_leader_dies_and_freezes_in_mid_update_and_updates_go_on(
    world: Callable[..., World],
) -> None:
    cluster, image = world(3, 1)
    web(cluster, image, 6, "--update-delay", "500ms", "--update-monitor", "1s")
    leader = leader_of(cluster, cluster.manager)
    first_update = sampler.containers(cluster.hosts)
    leader.cli("service", "update", "-d", "--env-add", "V=1", "web")
    time.sleep(4)
    other = another(cluster, leader)
    with sampler.Sampler([h for h in cluster.hosts if h is not leader]) as watched:
        updated = {s for s in sampler.containers(cluster.hosts) if s.task.startswith("web.")}
        done = updated - first_update
        assert done
        leader.signal_process("daemon", signal.SIGSTOP)  # no restart of what is killed
        leader.signal_process("manager", signal.SIGKILL)
        leader.signal_process("etcd", signal.SIGKILL)
        cluster.wait(lambda: leader_of(cluster, other) is not leader, 10, "another leader")
        state = lambda: other.cli(  # noqa: E731
            "service", "inspect", "--format", "{{.UpdateStatus.State}}", "web"
        ).strip()
        cluster.wait(lambda: state() == "completed", 60, "the update to end", 0.5)
        leader.signal_process("daemon", signal.SIGCONT)
    # Never from zero: what was updated before the leader died was not replaced again.
    checkers.none(checkers.untouched(done, sampler.containers(cluster.hosts)))
    checkers.none(checkers.one_a_place(watched.samples, grace_s=10))
    converged(cluster, "web", 6)

    cluster.wait(cluster._all_ready, 30, "every node to be Ready")
    leader = leader_of(cluster, other)
    other = another(cluster, leader)
    leader.freeze("manager")
    cluster.wait(lambda: leader_of(cluster, other) is not leader, 20, "another leader")
    other.cli("service", "scale", "-d", "web=4")
    leader.thaw("manager")
    converged(cluster, "web", 4, 30)
    time.sleep(3)
    # A leader that slept must not write what it had in mind: still four, and one leader.
    assert len(cluster.running("web")) == 4
    shown = other.cli("node", "ls", "--format", "{{.ManagerStatus}}")
    assert shown.split().count("Leader") == 1
    cluster.wait(cluster._all_ready, 20, "every node to be Ready")

    # Two of three gone: told in a line and in bounded time, and containers run on.
    before = sampler.containers([other, cluster.workers[0]])
    for host in cluster.managers:
        if host is not other:
            host.kill()
    begun = time.monotonic()
    told = other.try_cli("service", "scale", "-d", "web=5", timeout_s=50)
    assert told.returncode != 0
    assert time.monotonic() - begun < 45
    assert "Traceback" not in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1, told.stderr
    checkers.none(checkers.untouched(before, sampler.containers([other, cluster.workers[0]])))
    assert any(answers(cluster.workers[0]) for _ in range(10))
    for host in cluster.managers:
        if host.machine is None:
            host.boot()
    cluster.wait(cluster._all_ready, 40, "every node to be Ready")
    assert converged(cluster, "web", 4, 40) < 40
    with Prober(cluster.workers[0]) as prober:
        time.sleep(2)
    assert prober.failures == []
