"""Three managers under a steady load of writes: the leader, a member of etcd, a host, all of them
die; how long nothing is written, and that no container notices.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from chaos_world import ask, converged, forget, leads, no_leaks, served, web

from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.types_pb2 import ManagerStatus
from swarmlite.testing import Cluster, Host, checkers, sampler
from swarmlite.testing.writing import Writer

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

World = tuple[Cluster, str]
GAP_S = 10.0
"""What is allowed; the figure aimed at, 3 s, is of an idle machine: it is printed."""


Fault = Callable[[Cluster, Host], AbstractContextManager[None]]


@contextmanager
def manager_killed(cluster: Cluster, leader: Host) -> Iterator[None]:
    leader.signal_process("manager", signal.SIGKILL)
    yield


@contextmanager
def etcd_killed(cluster: Cluster, leader: Host) -> Iterator[None]:
    leader.signal_process("etcd", signal.SIGKILL)
    yield


@contextmanager
def etcd_frozen(cluster: Cluster, leader: Host) -> Iterator[None]:
    leader.freeze("etcd")
    try:
        yield
    finally:
        leader.thaw("etcd")


@contextmanager
def cut_from_etcd(cluster: Cluster, leader: Host) -> Iterator[None]:
    """Of its manager only: its agent, and its member with the others, go on."""
    chain = "add chain inet wall input { type filter hook input priority 0; }"
    rule = "add rule inet wall input iifname lo tcp dport 2381 drop"
    leader.run("nft", f"add table inet wall; {chain}; {rule}")
    try:
        yield
    finally:
        leader.run("nft", "delete table inet wall")


@contextmanager
def cut_one_way(cluster: Cluster, leader: Host) -> Iterator[None]:
    with _cut(cluster, leader, one_way=True):
        yield


@contextmanager
def cut_both_ways(cluster: Cluster, leader: Host) -> Iterator[None]:
    """Workers still reach them all."""
    with _cut(cluster, leader, one_way=False):
        yield


@contextmanager
def _cut(cluster: Cluster, leader: Host, *, one_way: bool) -> Iterator[None]:
    for other in cluster.managers:
        if other is not leader:
            cluster.cut(leader, other, one_way=one_way)
    try:
        yield
    finally:
        cluster.heal()


@contextmanager
def slow_disk(cluster: Cluster, leader: Host) -> Iterator[None]:
    """Each sync of its etcd takes 200 ms longer."""
    command = "strace -f -qq -o /dev/null -e trace=fdatasync -e inject=fdatasync:delay_exit=200000"
    tracer = subprocess.Popen([*command.split(), "-p", str(leader.node_pid("etcd"))])
    try:
        yield
    finally:
        tracer.terminate()  # it lets go of what it traces
        tracer.wait()


LASTS_S: dict[Fault, float] = {
    etcd_frozen: 20,
    cut_from_etcd: 20,
    cut_one_way: 20,
    cut_both_ways: 20,
}
"""Longer than managers have to judge the nodes of one that they do not hear."""


def reachable(cluster: Cluster) -> int:
    """How many managers the leader hears of."""
    nodes = cluster.ask("ListNodes", ListRequest()).nodes
    return sum(n.manager_status.reachability == ManagerStatus.REACHABLE for n in nodes)


def test_writes_go_on_and_no_container_notices_whoever_of_the_managers_dies(
    world: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, image = world(3, 2)
    web(cluster, image, 4, "--constraint", "node.role==worker")
    before = [s for s in sampler.containers(cluster.hosts) if s.task.startswith("web.")]
    figures: dict[str, float] = {}
    kept: list[str] = []

    def survived(what: str, fault: Fault) -> None:
        cluster.wait(lambda: reachable(cluster) == 3, 120, "three managers")
        leader = leads(cluster)
        with Writer(cluster.managers, f"c{len(figures)}-") as writer:
            cluster.wait(lambda: len(writer.written) > 10, 60, "writes")
            with fault(cluster, leader):
                enough = len(writer.written) + 20
                cluster.wait(lambda: len(writer.written) > enough, 120, f"writes after {what}")
                time.sleep(LASTS_S.get(fault, 0.0))
        figures[what] = writer.gap_s
        kept.extend(f"{what}: {gap:.1f} s without a write" for gap in [writer.gap_s] if gap > GAP_S)
        forget(cluster, writer.written)
        checkers.none(checkers.untouched(before, sampler.containers(cluster.hosts)), what)

    survived("the leader's manager was killed", manager_killed)
    survived("the leader's member of etcd was killed", etcd_killed)
    survived("the leader's member of etcd stood still", etcd_frozen)
    survived("the leader was cut off from etcd", cut_from_etcd)
    survived("the other managers did not hear the leader", cut_one_way)
    survived("the leader and the other managers were cut apart", cut_both_ways)
    if shutil.which("strace"):
        survived("the leader's disk was slow", slow_disk)

    # A worker without power: its tasks run elsewhere.
    dead = cluster.workers[1]
    begun = time.monotonic()
    dead.kill()
    left = lambda: len(_web_on(cluster.workers[0])) == 4  # noqa: E731
    cluster.wait(left, 60, "four on the worker that is left")
    figures["a dead worker's tasks run elsewhere"] = time.monotonic() - begun
    dead.boot()
    cluster.wait(cluster._all_ready, 60, "every node to be Ready")
    converged(cluster, "web", 4)
    converged(cluster, "client", len(cluster.hosts))
    served(cluster)
    before = _web_on(cluster.workers[0])

    # All of them at once: who runs goes on, names and VIPs too.
    for host in cluster.managers:
        host.signal_process("manager", signal.SIGKILL)
        host.signal_process("etcd", signal.SIGKILL)
    assert all(ask(host) for host in cluster.workers)
    cluster.wait(lambda: reachable(cluster) == 3, 120, "three managers again")
    checkers.none(checkers.untouched(before, sampler.containers(cluster.hosts)), "all managers")
    served(cluster)
    no_leaks(cluster, 40)
    with capsys.disabled():
        for what, seconds in figures.items():
            print(f"\n  {what}: {seconds:.1f} s", end="")
    checkers.none(kept, "writes stood still:")


def _web_on(host: Host) -> list[sampler.Seen]:
    return [s for s in sampler.containers([host]) if s.task.startswith("web.")]
