"""What the chaos tests share: a service with clients, and probes that ask it from inside."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from steady_load import Load

from swarmlite.proto.control_pb2 import ListRequest, ListTasksRequest, RemoveRequest
from swarmlite.testing import Cluster, CommandFailed, Host, checkers, sampler
from swarmlite.testing.sampler import Seen

SERVE = "mkdir -p /w; echo web $(hostname) >/w/index.html; exec httpd -f -p 80 -h /w"
PORT = 8080


def web(cluster: Cluster, image: str, replicas: int = 3, *options: str) -> None:
    """Service `web` on network `net1`, published, and a client of it on every host."""
    cluster.manager.cli("network", "create", "-d", "overlay", "net1")
    services(cluster, image, replicas, *options)
    cluster.wait_running("web", replicas)
    cluster.wait_running("client", len(cluster.hosts))
    for host in cluster.hosts:
        cluster.wait(lambda host=host: ask(host) and host.get(PORT), 10, f"web from {host.name}")  # type: ignore[misc]


def services(cluster: Cluster, image: str, replicas: int, *options: str) -> None:
    """Ask for both."""
    manager = cluster.manager
    shared = ("-d", "-q", "--network", "net1", "--stop-grace-period", "1s")
    manager.cli("service", "create", *shared, "--name", "web", "--replicas", str(replicas),
                "--restart-delay", "0s", "-p", f"{PORT}:80", *options,
                image, "sh", "-c", SERVE)  # fmt: skip
    manager.cli("service", "create", *shared, "--name", "client", "--mode", "global",
                image, "sleep", "36000")  # fmt: skip


def inside(seen: Seen, *command: str, timeout_s: float = 15) -> str:
    """A command in a container, entered by its pid. Raises OSError with what it said."""
    done = subprocess.run(
        ["nsenter", "-t", str(seen.pid), "-n", "-m", "-p", "--", *command],
        capture_output=True, text=True, timeout=timeout_s, env={"PATH": "/bin"},
    )  # fmt: skip
    if done.returncode:
        raise OSError(f"{command}: {done.returncode} {done.stdout}{done.stderr}")
    return done.stdout.strip()


def client_of(host: Host) -> Seen:
    """The client that runs on a host."""
    for seen in sampler.containers([host]):
        if seen.task.startswith("client."):
            return seen
    raise OSError(f"no client on {host.name}")


def ask(host: Host, url: str = "http://web/", timeout_s: int = 10) -> str:
    """What the service answers a client on `host`, by its name and VIP. Raises OSError."""
    # Not wget's own -T: in Debian's static busybox it ends with a segmentation fault.
    within = ("/bin/busybox", "timeout", str(timeout_s))
    return inside(client_of(host), *within, "/bin/busybox", "wget", "-qO-", url)


def answers(host: Host) -> bool:
    """Whether the service answers a client on `host` soon."""
    try:
        return bool(ask(host, timeout_s=2))
    except OSError:
        return False


def served(cluster: Cluster, timeout_s: float = 30) -> None:
    """Wait until clients on every host that is on get an answer from each backend: their agents
    have heard from the managers what is gone and what is new.
    """
    for host in cluster.hosts:
        if host.machine is not None:
            all_answer = lambda host=host: all(ask(host, timeout_s=2) for _ in range(6))  # noqa: E731
            cluster.wait(all_answer, timeout_s, f"answers to clients on {host.name}")


def vip(host: Host) -> str:
    """The service's virtual address, as a client on `host` is told."""
    return inside(client_of(host), "/bin/busybox", "nslookup", "web").split()[-1]


class Prober:
    """Asks the published port of a host all the time; `gaps` are what was not answered."""

    def __init__(self, host: Host, timeout_s: float = 2.0, every_s: float = 0.1) -> None:
        self.failures: list[tuple[float, str]] = []
        self.slowest_s = 0.0
        self.asked = 0
        self._host, self._timeout_s, self._every_s = host, timeout_s, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            begun = time.monotonic()
            self.asked += 1
            try:
                self._host.get(PORT, timeout_s=self._timeout_s)
            except OSError as error:
                self.failures.append((begun, str(error)))
            self.slowest_s = max(self.slowest_s, time.monotonic() - begun)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()


class Whole:
    """A cluster that many tests share: `again` makes it whole, as each of them begins with it."""

    def __init__(self, cluster: Cluster, image: str, *options: str, replicas: int = 3) -> None:
        self.cluster = cluster
        self._image, self._options, self._replicas = image, options, replicas
        self.load = Load(cluster, image)
        web(cluster, image, replicas, *options)

    @contextmanager
    def loaded(self) -> Iterator[Load]:
        """Under a load of its own, which is judged at the end."""
        self.load = Load(self.cluster, self._image)
        with self.load:
            yield self.load
        self.load.check()

    def no_leaks(self, timeout_s: float = 10) -> None:
        """As `no_leaks`, while the load makes and removes nothing."""
        with self.load.paused():
            no_leaks(self.cluster, timeout_s)

    def again(self) -> None:
        """Every host on and Ready, `web` and its clients as in the beginning, and nothing else."""
        self.cluster.heal()
        for host in self.cluster.hosts:
            if host.machine is None:
                host.boot()
        self.cluster.wait(self.cluster._all_ready, 60, "every node to be Ready")
        self.cluster.wait(self._asked_for, 60, "the services to be asked for")
        converged(self.cluster, "web", self._replicas, 60)
        converged(self.cluster, "client", len(self.cluster.hosts), 60)
        served(self.cluster)
        no_leaks(self.cluster, 40)

    def _asked_for(self) -> bool:
        manager = self.cluster.manager
        shown = manager.cli("service", "ls", "--format", "{{.Name}} {{.Replicas}}")
        known = {words[0]: words[1] for line in shown.splitlines() if (words := line.split())}
        if not {"web", "client"} <= known.keys():
            services(self.cluster, self._image, self._replicas, *self._options)
        elif not known["web"].endswith(f"/{self._replicas}"):
            manager.cli("service", "scale", "-d", f"web={self._replicas}")
        return True


class Stated:
    """Polls what the store has of tasks: `seen` has states and desired states by id and version."""

    def __init__(self, cluster: Cluster, every_s: float = 0.2) -> None:
        self.seen: dict[str, dict[int, tuple[int, int]]] = {}
        self.rounds = 0
        self._cluster, self._every_s = cluster, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            with contextlib.suppress(CommandFailed, OSError):
                for task in self._cluster.ask("ListTasks", ListTasksRequest()).tasks:
                    known = self.seen.setdefault(task.id, {})
                    known[task.meta.version.index] = (task.status.state, task.desired_state)
                self.rounds += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def used(cluster: Cluster) -> list[sampler.Use]:
    """What the node's processes hold on every host that is on."""
    on = [host for host in cluster.hosts if host.machine is not None]
    return sampler.uses(on, ("daemon", "agent", "manager", "etcd", "supervisor"))


def leads(cluster: Cluster) -> Host:
    """The host whose manager leads, once one does and the first manager says so."""

    def leader() -> list[Host]:
        nodes = cluster.ask("ListNodes", ListRequest()).nodes
        return [cluster.host(n.description.hostname) for n in nodes if n.manager_status.leader]

    return cluster.wait(leader, 60, "a leader")[0]


def converged(cluster: Cluster, service: str, count: int, timeout_s: float = 30) -> float:
    """Wait until as many tasks run, as pids, as are desired; the seconds it took."""
    begun = time.monotonic()

    def reached() -> bool:
        on = [host for host in cluster.hosts if host.machine is not None]
        live = [s for s in sampler.containers(on) if s.task.startswith(f"{service}.")]
        return len(live) == count and len(cluster.running(service)) == count

    cluster.wait(reached, timeout_s, f"{count} containers of {service}")
    return time.monotonic() - begun


def no_leaks(cluster: Cluster, timeout_s: float = 10) -> None:
    """Nothing stays behind on any host that is on; clean-up gets a moment to end."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = [
            line for host in cluster.hosts if host.machine is not None
            for line in checkers.leaks(host)
        ]  # fmt: skip
        if not found or time.monotonic() > deadline:
            return checkers.none(found, "left behind:")
        time.sleep(0.3)


def seeds(*usual: int) -> tuple[int, ...]:
    """The schedules to play; SWARMLITE_CHAOS_SEEDS names others, to play one again or go on."""
    named = os.environ.get("SWARMLITE_CHAOS_SEEDS", "")
    return tuple(int(word) for word in named.split(",")) if named else usual


USUAL = 1
"""The seed of `make chaos`."""

T = TypeVar("T")


def ordered(seed: int, faults: Sequence[T]) -> list[T]:
    """As they are listed for the usual seed, and in an order of its own for each other one."""
    return list(faults) if seed == USUAL else random.Random(seed).sample(faults, len(faults))


def moments(seed: int, count: int, longest_s: float) -> list[float]:
    """Random moments, the same for the same seed."""
    chance = random.Random(seed)
    return [chance.uniform(0.02, longest_s) for _ in range(count)]


def forget(cluster: Cluster, names: list[str], patience_s: float = 10) -> None:
    """What was acknowledged is there, as the first manager says that answers (one that was killed
    starts again); then it is removed. Raises CommandFailed.
    """

    def stored() -> dict[str, str]:
        configs = cluster.ask("ListConfigs", ListRequest()).configs
        return {config.spec.annotations.name: config.id for config in configs}

    # A view that is behind is no loss: etcd's watch brings the rest.
    lost = lambda: [name for name in names if name not in stored()]  # noqa: E731
    with contextlib.suppress(CommandFailed):
        cluster.wait(lambda: not lost(), patience_s, "what was acknowledged")
    checkers.none(cluster.wait(lambda: (lost(),), 60, "a manager that answers")[0],
                  "acknowledged writes were lost:")  # fmt: skip

    def removed() -> bool:
        known = stored()
        left = [known[name] for name in names if name in known]
        for config in left:
            cluster.ask("RemoveConfig", RemoveRequest(ref=config))
        return not left

    cluster.wait(removed, 60, "the removal of what was written")
