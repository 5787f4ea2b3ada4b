"""Networks: the ways of packets, names, what a change takes, many services, many nodes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Collection
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
CHANGES = 7


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
    everywhere = [hosts.manager, hosts.near, hosts.far]
    hosts.service("watch", "--mode", "global")
    serving = ("httpd", "-f", "-p", str(PORT))
    hosts.service("moving", "--replicas", "1", "--restart-delay", "2s", command=serving)
    hosts.cluster.wait_running("watch", 3)
    hosts.cluster.wait_running("moving", 1)
    places = [Place(host, hosts.container(host, "watch.")) for host in everywhere]
    vip = min(hosts_of(places[0], "moving"))
    began, died = [], []
    with contextlib.ExitStack() as stack:
        watchers = [stack.enter_context(Watcher(place, vip)) for place in places]
        for number in range(CHANGES + 1):
            until(lambda: all(w.state == "taken" for w in watchers), "answer of the VIP")
            host, container = next(
                (h, found) for h in everywhere if (found := _task_of(hosts, h, "moving."))
            )
            if number:  # the first one ran before anyone watched
                began.append(max(w.since for w in watchers) - _started(host, container))
            pid = host.cli("inspect", "--format", "{{.State.Pid}}", container).strip()
            killed = time.monotonic()
            host.run("kill", "-KILL", pid)
            until(lambda: all(w.state == "refused" for w in watchers), "refusal by the VIP")
            died.append(max(w.since for w in watchers) - killed)
    title = "{}, until the maps of three nodes have it"
    return [
        alone_spread_row(title.format(what), "ms", [1e3 * s for s in took], at_most=150)
        for what, took in (("a task's start", began), ("its death", died))
    ]


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


def _task_of(hosts: Hosts, host: Host, name: str) -> str:
    found = host.cli("container", "ls", "-q", "--no-trunc", "--filter", f"name={name}")
    return found.split()[0] if found.split() else ""
