"""Three managers under a steady load of writes: the leader, a member of etcd, a host, all of them
die; how long nothing is written, and that no container notices.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from chaos_world import ask, converged, forget, leads, no_leaks, served, web

from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.types_pb2 import ManagerStatus
from swarmlite.testing import Cluster, Host, checkers, sampler
from swarmlite.testing.writing import Writer

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

World = tuple[Cluster, str]
GAP_S = 10.0
"""What `faults.md` allows; the figure aimed at, 3 s, is of an idle machine: it is printed."""


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

    def survived(what: str, fault: Callable[[], object]) -> None:
        cluster.wait(lambda: reachable(cluster) == 3, 120, "three managers")
        with Writer(cluster.managers) as writer:
            cluster.wait(lambda: len(writer.written) > 10, 60, "writes")
            fault()
            enough = len(writer.written) + 20
            cluster.wait(lambda: len(writer.written) > enough, 120, f"writes after {what}")
        figures[what] = writer.gap_s
        kept.extend(f"{what}: {gap:.1f} s without a write" for gap in [writer.gap_s] if gap > GAP_S)
        forget(cluster, writer.written)
        checkers.none(checkers.untouched(before, sampler.containers(cluster.hosts)), what)

    survived("the leader's manager was killed",
             lambda: leads(cluster).signal_process("manager", signal.SIGKILL))  # fmt: skip
    survived("a member of etcd was killed",
             lambda: leads(cluster).signal_process("etcd", signal.SIGKILL))  # fmt: skip
    frozen = cluster.managers[2]
    survived("a member of etcd stood still", lambda: frozen.freeze("etcd"))
    frozen.thaw("etcd")

    # All of them at once: who runs goes on, names and VIPs too.
    for host in cluster.managers:
        host.signal_process("manager", signal.SIGKILL)
        host.signal_process("etcd", signal.SIGKILL)
    assert all(ask(host) for host in cluster.workers)
    cluster.wait(lambda: reachable(cluster) == 3, 120, "three managers again")
    checkers.none(checkers.untouched(before, sampler.containers(cluster.hosts)), "all managers")

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
    served(cluster)
    no_leaks(cluster, 40)
    with capsys.disabled():
        for what, seconds in figures.items():
            print(f"\n  {what}: {seconds:.1f} s", end="")
    checkers.none(kept, "writes stood still:")


def _web_on(host: Host) -> list[sampler.Seen]:
    return [s for s in sampler.containers([host]) if s.task.startswith("web.")]
