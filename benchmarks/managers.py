"""What the death of managers and of workers costs, on real clusters: minutes.

Each part makes a cluster of its own, so that it can be measured by itself.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.types_pb2 import ManagerStatus, UpdateStatus
from swarmlite.testing import Cluster, Host, checkers, sampler
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry
from swarmlite.testing.writing import Writer

from .simulated_swarm import SimulatedSwarm
from .table import Row, alone_row, median, spread_note

DEATHS = 3
TASKS, AGENTS, ROUNDS = 10_000, 1000, 3
UPDATED = 100
WAIT_S = 120.0


@contextmanager
def _cluster(managers: int, workers: int, *init: str) -> Iterator[tuple[Cluster, str]]:
    name = f"m{os.getpid()}"
    with Cluster(managers, workers, name=name, init_options=init) as cluster:
        assert cluster.lan is not None
        with Registry(cluster.lan.gateway) as registry:
            registry.push(debian_images.busybox())
            yield cluster, f"{registry.address}/busybox:latest"


def _serve(cluster: Cluster, image: str, replicas: int, *options: str) -> None:
    cluster.manager.cli(
        "service", "create", "-d", "-q", "--name", "web", "--replicas", str(replicas),
        "--restart-delay", "0s", "--stop-grace-period", "0s", *options, image, "sleep", "36000",
    )  # fmt: skip
    cluster.wait_running("web", replicas, WAIT_S)


def _whole(cluster: Cluster) -> bool:
    """Every node Ready, every manager reachable, one of them the leader."""
    nodes = cluster.ask("ListNodes", ListRequest()).nodes
    managers = [node.manager_status for node in nodes if node.HasField("manager_status")]
    there = sum(m.reachability == ManagerStatus.REACHABLE for m in managers)
    led = any(m.leader for m in managers)
    return cluster._all_ready() and there == len(cluster.managers) and led


def _leader(cluster: Cluster) -> Host:
    def found() -> list[Host]:
        nodes = cluster.ask("ListNodes", ListRequest()).nodes
        return [cluster.host(n.description.hostname) for n in nodes if n.manager_status.leader]

    return cluster.wait(found, WAIT_S, "a leader")[0]


def write_gap() -> list[Row]:
    """The longest time in which no write is taken, when the leader or its etcd is killed."""
    gaps: dict[str, list[float]] = {"manager": [], "etcd": []}
    with _cluster(3, 0) as (cluster, _):
        for number in range(DEATHS):
            for process, found in gaps.items():
                cluster.wait(lambda: _whole(cluster), WAIT_S, "three managers")
                with Writer(cluster.managers, f"{process}{number}-") as writer:
                    cluster.wait(lambda: len(writer.written) > 10, WAIT_S, "writes")
                    _leader(cluster).signal_process(process, signal.SIGKILL)
                    enough = len(writer.written) + 40
                    more: Callable[[int], bool] = lambda n: len(writer.written) > n  # noqa: E731
                    cluster.wait(partial(more, enough), WAIT_S, "more writes")
                found.append(writer.gap_s)
    what = {"manager": "the leader's manager", "etcd": "the leader's member of etcd"}
    return [
        alone_row(f"no write while {what[process]} is killed, the longest of {DEATHS}", "s",
                  max(found), at_most=3)
        for process, found in gaps.items()
    ]  # fmt: skip


def dead_worker() -> list[Row]:
    """From the power cut of a worker to all of its tasks running elsewhere, as processes."""
    return _deaths(8) + _deaths(4, "--dispatcher-heartbeat", "1s")


def _deaths(at_most_s: float, *init: str) -> list[Row]:
    with _cluster(1, 3, *init) as (cluster, image):
        _serve(cluster, image, 6, "--constraint", "node.role==worker")
        took_s = [_death(cluster, worker) for worker in cluster.workers]
    said = " ".join(init) or "by default settings"
    spread = f"the longest of {len(took_s)} (median {median(took_s):.1f} s)"
    what = f"a dead worker's tasks run elsewhere, {said}, {spread}"
    return [alone_row(what, "s", max(took_s), at_most=at_most_s)]


def _death(cluster: Cluster, worker: Host) -> float:
    cluster.wait(lambda: _whole(cluster), WAIT_S, "every node")
    cluster.manager.cli("service", "update", "-d", "--force", "web")  # spread again
    cluster.wait(lambda: _updated(cluster) and len(_web(cluster)) == 6, WAIT_S, "six tasks")
    others = [host for host in cluster.hosts if host is not worker]
    worker.kill()
    begun = time.monotonic()
    cluster.wait(lambda: len(_web(cluster, others)) == 6, WAIT_S, "six tasks elsewhere", 0.02)
    took_s = time.monotonic() - begun
    worker.boot()
    return took_s


def _web(cluster: Cluster, hosts: list[Host] | None = None) -> list[sampler.Seen]:
    found = sampler.containers(hosts or [host for host in cluster.hosts if host.on])
    return [seen for seen in found if seen.task.startswith("web.")]


def _updated(cluster: Cluster) -> bool:
    services = cluster.ask("ListServices", ListRequest()).services
    return all(s.update_status.state == UpdateStatus.COMPLETED for s in services)


def restarts() -> list[Row]:
    """Containers that another process or none is left of, after each of these."""
    touched: dict[str, int] = {}
    with _cluster(3, 2) as (cluster, image):
        _serve(cluster, image, 20)
        before = frozenset(_web(cluster))

        def killed(what: str, process: str, hosts: list[Host]) -> None:
            for host in hosts:
                host.signal_process(process, signal.SIGKILL)
            time.sleep(1)
            cluster.wait(lambda: _whole(cluster), WAIT_S, what)
            time.sleep(16)  # three heartbeats: who is taken for dead has been by now
            touched[what] = len(checkers.untouched(before, sampler.containers(cluster.hosts)))

        killed("every agent", "agent", cluster.hosts)
        killed("the leading manager", "manager", [_leader(cluster)])
        killed("every manager", "manager", cluster.managers)
        killed("every etcd", "etcd", cluster.managers)
    return [alone_row(f"containers of 20 that were begun again when {what} was killed", "", count,
                      at_most=0) for what, count in touched.items()]  # fmt: skip


def two_leaders() -> list[Row]:
    """A rolling update, in the middle of which the leader dies twice."""
    with _cluster(3, 0) as (cluster, image):
        _serve(cluster, image, UPDATED, "--update-parallelism", "5", "--update-monitor", "1s")
        cluster.wait(lambda: _whole(cluster), WAIT_S, "three managers")
        before = frozenset(_web(cluster))
        seen: set[sampler.Seen] = set()

        def changed() -> int:
            seen.update(_web(cluster))
            return len(seen - before)

        cluster.manager.cli("service", "update", "-d", "--env-add", "V=1", "web")
        begun = time.monotonic()
        for share in (0.2, 0.6):
            cluster.wait(lambda share=share: changed() >= share * UPDATED, WAIT_S, "progress", 0.05)  # type: ignore[misc]
            leader = _leader(cluster)
            leader.signal_process("manager", signal.SIGKILL)
        ended: Callable[[], bool] = lambda: bool(changed()) and _updated(cluster)  # noqa: E731
        cluster.wait(ended, 2 * WAIT_S, "the end of the update", 0.05)
        took_s = time.monotonic() - begun
        cluster.wait(lambda: len(_web(cluster)) == UPDATED, WAIT_S, "all of them")
        changed()
        left = len(before & frozenset(_web(cluster)))
        places: dict[str, int] = {}
        for new in seen - before:
            places[new.place] = places.get(new.place, 0) + 1
    wrong = left + sum(count != 1 for count in places.values()) + UPDATED - len(places)
    what = f"rolling update of {UPDATED} over two deaths of the leader"
    return [
        alone_row(f"{what}: slots not changed just once", "", wrong, at_most=0),
        alone_row(f"{what}: it took", "s", took_s),
    ]


def joining() -> list[Row]:
    """From `swarm join` to a new manager's own answer that all tasks run."""
    with SimulatedSwarm(AGENTS) as swarm:
        service = swarm.create("many", TASKS)
        swarm.until(lambda: swarm.running(service) == TASKS, WAIT_S)
        host, token = swarm.cluster.booted("manager2"), swarm.cluster._token("manager")
        swarm.cluster.managers.append(host)
        begun = time.monotonic()
        swarm.cluster._join(host, token)
        joined_s = time.monotonic() - begun
        swarm.until(lambda: swarm.seen_by(host, service) == TASKS, WAIT_S)
        took_s = time.monotonic() - begun
    what = f"a manager joins a cluster of {TASKS:,} tasks: it shows them all"
    return [alone_row(f"{what} (`swarm join` {joined_s:.1f} s)", "s", took_s, at_most=5)]


def three_managers() -> list[Row]:
    """The same tasks on the same agents, with three managers and with one."""
    one, three = (_many(count) for count in (1, 3))
    what = f"{TASKS:,} tasks on {AGENTS:,} simulated agents, three managers against one"
    ratio = median(three) / median(one)
    said = f"{median(three):.2f} s{spread_note(three)} against {median(one):.2f} s"
    return [Row(what, said, "", ratio, "<= 1.3", ratio <= 1.3)]


def _many(managers: int) -> list[float]:
    with SimulatedSwarm(AGENTS, processes=3, managers=managers) as swarm:
        took_s = []
        for number in range(ROUNDS + 1):
            begun = time.monotonic()
            service = swarm.create(f"many{number}", TASKS if number else TASKS // 10)
            tasks = TASKS if number else TASKS // 10
            swarm.until(lambda s=service, n=tasks: swarm.running(s) == n, WAIT_S)  # type: ignore[misc]
            took_s.append(time.monotonic() - begun)
            swarm.remove(service, WAIT_S)
            time.sleep(2)
    return took_s[1:]


PARTS: dict[str, Callable[[], list[Row]]] = {
    "write-gap": write_gap,
    "dead-worker": dead_worker,
    "restarts": restarts,
    "two-leaders": two_leaders,
    "joining": joining,
    "three-managers": three_managers,
}
