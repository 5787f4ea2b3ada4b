"""The leader dies and freezes in mid-update, then two of three managers are gone: updates go on,
never from zero, and who has no quorum says so.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest
from chaos_world import USUAL, Prober, answers, converged, seeds, web
from steady_load import standing

from swarmlite.testing import Cluster, Host, checkers, sampler

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

World = tuple[Cluster, str]


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


@pytest.mark.parametrize("seed", seeds(USUAL))
def test_the_leader_dies_and_freezes_in_mid_update_and_updates_go_on(
    world: Callable[..., World], seed: int
) -> None:
    cluster, image = world(3, 1)
    web(cluster, image, 6, "--update-delay", "500ms", "--update-monitor", "1s")
    leader = leader_of(cluster, cluster.manager)
    first_update = standing(cluster.hosts)
    leader.cli("service", "update", "-d", "--env-add", "V=1", "web")
    time.sleep(random.Random(seed).uniform(3, 7))  # a part of it is done
    other = another(cluster, leader)
    with sampler.Sampler([h for h in cluster.hosts if h is not leader]) as watched:
        updated = {s for s in standing(cluster.hosts) if s.task.startswith("web.")}
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
    checkers.none(checkers.untouched(done, standing(cluster.hosts)))
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
    before = standing([other, cluster.workers[0]])
    for host in cluster.managers:
        if host is not other:
            host.kill()
    begun = time.monotonic()
    told = other.try_cli("service", "scale", "-d", "web=5", timeout_s=50)
    assert told.returncode != 0
    assert time.monotonic() - begun < 45
    assert "Traceback" not in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1, told.stderr
    checkers.none(checkers.untouched(before, standing([other, cluster.workers[0]])))
    assert any(answers(cluster.workers[0]) for _ in range(10))
    for host in cluster.managers:
        if host.machine is None:
            host.boot()
    cluster.wait(cluster._all_ready, 40, "every node to be Ready")
    assert converged(cluster, "web", 4, 40) < 40
    with Prober(cluster.workers[0]) as prober:
        time.sleep(2)
    assert prober.failures == []
