"""Networks: the ways of packets, names, what a change takes, many services, many nodes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from swarmlite.testing import Host

from . import network_joining, network_paths, network_scale
from .docker_peer import DockerPeer
from .network_hosts import PORT, PROGRAM, ROUNDS, SECONDS, Hosts, Place, hosts, hosts_of, until
from .start_latency import rootfs
from .table import Row, alone_spread_row, spread_row

PARTS = ("paths", "names", "maps", "scale", "joining")
ON_HOSTS = {"paths", "names", "maps"}
CHANGES, REST_S = 7, 1.0


def measure(parts: Collection[str]) -> list[Row]:
    """The rows of `parts`."""
    rows: list[Row] = []
    if ON_HOSTS & set(parts):
        with hosts() as made:
            if "paths" in parts:
                rows += network_paths.measure(made)
            if "names" in parts:
                rows += _names(made)
            if "maps" in parts:
                rows += _changes(made)
    if "scale" in parts:
        rows += network_scale.measure()
    if "joining" in parts:
        rows += network_joining.measure()
    return rows


def _names(hosts: Hosts) -> list[Row]:
    """In turn with the resolver of a container on one of Docker's bridges."""
    with DockerPeer() as docker, tempfile.TemporaryDirectory() as folder:
        docker.import_image(rootfs(Path(folder) / "root"), "bench")
        docker.cli("network", "create", "names")
        command = ("--network", "names", "bench", "/bin/busybox", "sleep", "1000")
        container = docker.cli("run", "-d", "--name", "server", *command).strip()
        pid = json.loads(docker.cli("inspect", container))[0]["State"]["Pid"]
        assert docker.machine is not None
        enter = docker.machine.enter(["nsenter", "-t", str(pid), "-n"])
        asking = ("dns", "127.0.0.11", "server")
        ours, peer = [], []
        for _ in range(ROUNDS):
            ours.append(hosts.client.load(*asking))
            words = [*enter, *PROGRAM, *asking, str(SECONDS)]
            done = subprocess.run(words, capture_output=True, check=True, text=True)
            peer.append(float(done.stdout))
    return [spread_row("names of the network answered", "/s", ours, peer, at_least=1.0)]


def _changes(hosts: Hosts) -> list[Row]:
    """From a task's start and its death until a VIP leads there, and no longer, on every node."""
    hosts.service("watch", "--mode", "global")
    serving = ("httpd", "-f", "-p", str(PORT))
    for name, replicas in (("moving", "1"), ("pair", "2")):
        hosts.service(name, "--replicas", replicas, "--restart-delay", "3s", command=serving)
        hosts.cluster.wait_running(name, int(replicas))
    hosts.cluster.wait_running("watch", 3)
    title = "{}, until the maps of three nodes have it"
    return [
        alone_spread_row(title.format(what), "ms", [1e3 * s for s in took], at_most=150)
        for what, took in (("a task's start", _starts(hosts)), ("its death", _deaths(hosts)))
    ]


def _starts(hosts: Hosts) -> list[float]:
    took = []
    with _watchers(hosts, "moving") as watchers:
        for number in range(CHANGES + 1):
            until(lambda: all(w.state == "taken" for w in watchers), "answer of the VIP")
            host, container = _task(hosts, "moving.")
            if number:  # the first one ran before anyone watched
                took.append(max(w.since for w in watchers) - _started(host, container))
            _kill(host, container)
            until(lambda: all(w.state == "refused" for w in watchers), "refusal by the VIP")
    return took


def _deaths(hosts: Hosts) -> list[float]:
    """Of one of two: as long as it is in a map, each second connection there is refused."""
    took = []
    with _watchers(hosts, "pair") as watchers:
        for _ in range(CHANGES):
            _rest(watchers)
            killed = _kill(*_task(hosts, "pair."))
            time.sleep(REST_S)
            _rest(watchers)
            # `since` is from before where no connection was refused: the maps were faster.
            took.append(max(0.0, *(w.since - killed for w in watchers)))
            hosts.cluster.wait_running("pair", 2)
    return took


def _rest(watchers: Sequence[Watcher]) -> None:
    """Until all connections have been taken for a while."""

    def rest(watcher: Watcher) -> bool:
        return watcher.state == "taken" and time.monotonic() - watcher.since > REST_S

    until(lambda: all(map(rest, watchers)), "rest")


@contextlib.contextmanager
def _watchers(hosts: Hosts, service: str) -> Iterator[list[Watcher]]:
    """On the VIP of a service, in a sandbox of each node."""
    places = [Place(host, hosts.container(host, "watch.")) for host in hosts.cluster.hosts]
    vip = min(hosts_of(places[0], service))
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Watcher(place, vip)) for place in places]


def _task(hosts: Hosts, name: str) -> tuple[Host, str]:
    """A node and a container of a service that runs there."""
    return next((h, found) for h in hosts.cluster.hosts if (found := _container(h, name)))


def _kill(host: Host, container: str) -> float:
    """When that was, by the monotonic clock."""
    pid = host.cli("inspect", "--format", "{{.State.Pid}}", container).strip()
    killed = time.monotonic()
    host.run("kill", "-KILL", pid)
    return killed


class Watcher:
    """What connections to a VIP meet in a sandbox now, and since when."""

    def __init__(self, place: Place, vip: str) -> None:
        command = (*place.enter, *PROGRAM, "watch", vip, str(PORT))
        self._process = place.host.popen(*command)
        self.state, self.since = "", 0.0
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            since, state = line.split()
            self.since, self.state = float(since), state

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._thread.join()
        self._process.communicate()


def _started(host: Host, container: str) -> float:
    """When its process began, on the monotonic clock, which all hosts of this machine share."""
    said = host.cli("inspect", "--format", "{{.State.StartedAt}}", container).strip()
    at = datetime.fromisoformat(said.partition(".")[0] + "+00:00").timestamp()
    at += float("0." + said.partition(".")[2].rstrip("Z"))
    return time.monotonic() - (time.time() - at)


def _container(host: Host, name: str) -> str:
    found = host.cli("container", "ls", "-q", "--no-trunc", "--filter", f"name={name}").split()
    return found[0] if found else ""
