"""Networks: overlay, VIP, ingress and names beside the kernel's own ways and Docker's resolver.

Three hosts of namespaces. The two ends of each load are programs of network_load, inside of the
containers' network namespaces: nothing of a container but its wiring takes part.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from swarmlite.testing import Cluster, Host
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

from . import docker_overlay, network_joining, network_load, network_scale
from .docker_peer import DockerPeer
from .table import Row, alone_row, median, ratio_row, watched_row

SECONDS, ROUNDS, PORT, PUBLISHED = 3.0, 3, 9000, 9100
PROGRAM = (sys.executable, "-I", "-S", network_load.__file__)
WAIT_S = 60.0
CHANGES = 7


class Place:
    """A network namespace to run loads in: a host's, or a container's of it."""

    def __init__(self, host: Host, container: str = "") -> None:
        self.host = host
        self.enter = ("nsenter", f"--net={host.paths.netns_dir}/{container}") if container else ()

    def load(self, what: str, *arguments: object) -> float:
        """One figure of a load, the median of some runs."""
        command = (*self.enter, *PROGRAM, what, *map(str, arguments), str(SECONDS))
        return median([float(self.host.run(*command).stdout) for _ in range(ROUNDS)])

    @contextlib.contextmanager
    def server(self) -> Iterator[None]:
        """The other end of all loads."""
        process = self.host.popen(*self.enter, *PROGRAM, "server", str(PORT))
        try:
            assert process.stdout is not None and process.stdout.readline().strip() == "ready"
            yield
        finally:
            process.kill()
            process.communicate()


def _until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"no {what} after {WAIT_S:g} s")
        time.sleep(0.002)


class Hosts:
    """A manager and two workers, with a client and a server's task on an overlay."""

    def __init__(self, cluster: Cluster, image: str) -> None:
        self.cluster, self.image = cluster, image
        near, far = cluster.workers
        self.manager, self.near, self.far = cluster.manager, near, far
        self.manager.cli("network", "create", "-d", "overlay", "--attachable", "bench")
        self.service("client", "--constraint", f"node.hostname=={near.name}")
        self.service("server", "--constraint", f"node.hostname=={far.name}",
                     "--publish", f"{PUBLISHED}:{PORT}")  # fmt: skip
        cluster.wait_running("client", 1)
        cluster.wait_running("server", 1)
        self.client = Place(near, self.container(near, "client."))
        self.server = Place(far, self.container(far, "server."))

    def service(self, name: str, *options: str, command: Sequence[str] = ("sleep", "1d")) -> None:
        fixed = ("--detach", "--name", name, "--network", "bench", "--stop-grace-period", "0s")
        self.manager.cli("service", "create", *fixed, *options, self.image, *command)

    def container(self, host: Host, name: str) -> str:
        found = host.cli("container", "ls", "-q", "--no-trunc", "--filter", f"name={name}")
        return found.split()[0]


def measure(docker: DockerPeer, image: str) -> list[Row]:
    """All rows; `image`: of the peer's, with busybox."""
    rows: list[Row] = []
    with Cluster(1, 2, name="bench-net") as cluster:
        assert cluster.lan is not None
        with Registry(cluster.lan.gateway) as registry:
            registry.push(debian_images.busybox())
            hosts = Hosts(cluster, f"{registry.address}/busybox:latest")
            with hosts.server.server():
                rows += _paths(hosts)
            rows += _names(hosts, docker, image)
            rows += _changes(hosts)
    return rows + network_scale.measure() + network_joining.measure()


def _paths(hosts: Hosts) -> list[Row]:
    client, far = hosts.client, Place(hosts.far)
    direct = min(hosts_of(client, "tasks.server"))
    vip = min(hosts_of(client, "server"))
    rows: list[Row] = []
    with far.server():
        plain = {w: Place(hosts.near).load(w, hosts.far.addr, PORT) for w in network_load.LOADS}
    over = {what: client.load(what, direct, PORT) for what in network_load.LOADS}
    by_vip = {what: client.load(what, vip, PORT) for what in ("requests", "connections")}
    for what, unit in (("throughput", "B/s"), ("requests", "/s"), ("connections", "/s")):
        goal = 0.62 if what != "connections" else None
        title = f"overlay against a plain veth between the same hosts: {what}"
        row = (
            watched_row(title, unit, over[what], plain[what])
            if goal is None
            else ratio_row(title, unit, over[what], plain[what], at_least=goal)
        )
        rows.append(row)
    title = "the same: round trip"
    rows.append(ratio_row(title, "us", over["rtt"], plain["rtt"], at_most=1 / 0.62))
    for what, goal in (("requests", 0.93), ("connections", 0.9)):
        title = f"VIP against a task's address: {what}"
        rows.append(ratio_row(title, "/s", by_vip[what], over[what], at_least=goal))
    rows += _docker_overlay(over)
    rows += _haproxy(hosts, direct, by_vip)
    outside = Place(hosts.manager)
    for title, host in (("local", hosts.far), ("remote", hosts.near)):
        for what in ("requests", "connections"):
            found = outside.load(what, host.addr, PUBLISHED)
            rows.append(
                watched_row(
                    f"ingress, {title} task, against a plain veth: {what}", "/s", found, plain[what]
                )
            )
    return rows


def _docker_overlay(over: dict[str, float]) -> list[Row]:
    """The same loads over Docker's overlay, between two engines, where that runs."""
    try:
        with docker_overlay.places() as (client, server), server.server(PORT):
            loads = ("throughput", "requests", "rtt")
            arguments = (server.address, PORT, SECONDS)
            found = {what: client.load(what, arguments, ROUNDS) for what in loads}
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(f"no rows against Docker's overlay: it does not run here: {error}")
        return []
    title = "overlay against Docker's"
    return [
        ratio_row(f"{title}: throughput", "B/s", over["throughput"], found["throughput"],
                  at_least=1.0),
        ratio_row(f"{title}: requests", "/s", over["requests"], found["requests"], at_least=1.0),
        ratio_row(f"{title}: round trip", "us", over["rtt"], found["rtt"], at_most=1.0),
    ]  # fmt: skip


def _haproxy(hosts: Hosts, backend: str, by_vip: dict[str, float]) -> list[Row]:
    """Debian's, between the client and the same backend, where it is installed."""
    program = shutil.which("haproxy")
    if program is None:
        print("no row against HAProxy: it is not installed (apt-get install haproxy)")
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "haproxy.cfg"
        path.write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
            f"listen bench\n bind 127.0.0.1:9001\n server one {backend}:{PORT}\n"
        )
        process = hosts.near.popen(*hosts.client.enter, program, "-db", "-f", str(path))
        try:
            _until(lambda: _listens(hosts.client, 9001), "HAProxy")
            found = {w: hosts.client.load(w, "127.0.0.1", 9001) for w in by_vip}
        finally:
            process.kill()
            process.communicate()
    return [
        ratio_row(
            f"VIP against HAProxy before the same task: {what}",
            "/s",
            by_vip[what],
            found[what],
            at_least=1.2,
        )
        for what in by_vip
    ]


def _listens(place: Place, port: int) -> bool:
    shown = place.host.run(*place.enter, "cat", "/proc/net/tcp").stdout
    return f":{port:04X} 00000000:0000 0A" in shown


def _names(hosts: Hosts, docker: DockerPeer, image: str) -> list[Row]:
    ours = hosts.client.load("dns", "127.0.0.11", "server")
    docker.cli("network", "create", "bench-names")
    container = docker.cli("run", "-d", "--name", "server", "--network", "bench-names", image,
                           "/bin/busybox", "sleep", "1000").strip()  # fmt: skip
    try:
        state = json.loads(docker.cli("inspect", container))[0]["State"]["Pid"]
        assert docker.machine is not None
        command = docker.machine.enter(
            [
                "nsenter",
                "-t",
                str(state),
                "-n",
                *PROGRAM,
                "dns",
                "127.0.0.11",
                "server",
                str(SECONDS),
            ]
        )
        peer = median(
            [
                float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
                for _ in range(ROUNDS)
            ]
        )
    finally:
        docker.cli("rm", "-f", container)
        docker.cli("network", "rm", "bench-names")
    return [ratio_row("names of the network answered", "/s", ours, peer, at_least=1.0)]


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
            _until(lambda: all(w.state == "taken" for w in watchers), "answer of the VIP")
            host, container = next(
                (h, found) for h in everywhere if (found := _task_of(hosts, h, "moving."))
            )
            if number:  # the first one ran before anyone watched
                began.append(max(w.since for w in watchers) - _started(host, container))
            host.cli("container", "kill", container)
            killed = time.monotonic()
            _until(lambda: all(w.state == "refused" for w in watchers), "refusal by the VIP")
            died.append(max(w.since for w in watchers) - killed)
    title = "{}, until the maps of three nodes have it, the median of {}"
    return [
        alone_row(title.format(what, CHANGES), "ms", median(took) * 1e3, at_most=150)
        for what, took in (("a task's start", began), ("its death, from the end of `kill`", died))
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


def hosts_of(place: Place, name: str) -> set[str]:
    """The addresses that a sandbox's resolver says of a name now."""
    return set(place.host.run(*place.enter, *PROGRAM, "resolve", name).stdout.split())
