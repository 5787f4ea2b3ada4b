"""Three hosts of namespaces with an overlay, and places to run loads in.

The two ends of each load are programs of network_load, inside of the containers' network
namespaces: nothing of a container but its wiring takes part.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from swarmlite.testing import Cluster, Host
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

from . import network_load

SECONDS, ROUNDS, PORT, PUBLISHED = 1.0, 9, 9000, 9100
PROGRAM = (sys.executable, "-I", "-S", network_load.__file__)
WAIT_S = 60.0


class Place:
    """A network namespace to run loads in: a host's, or a container's of it."""

    def __init__(self, host: Host, container: str = "") -> None:
        self.host = host
        self.enter = ("nsenter", f"--net={host.paths.netns_dir}/{container}") if container else ()

    def load(self, what: str, *arguments: object) -> float:
        """One figure of a load."""
        command = (*self.enter, *PROGRAM, what, *map(str, arguments), str(SECONDS))
        return float(self.host.run(*command).stdout)

    def server(self) -> AbstractContextManager[None]:
        """The other end of all loads."""
        return serving(self.host.popen(*self.enter, *PROGRAM, "server", str(PORT)))


@contextlib.contextmanager
def serving(process: subprocess.Popen[str]) -> Iterator[None]:
    """A server of network_load, from its word that it is ready to the end of the block."""
    try:
        assert process.stdout is not None and process.stdout.readline().strip() == "ready"
        yield
    finally:
        process.kill()
        process.communicate()


def until(done: Callable[[], bool], what: str) -> None:
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


@contextlib.contextmanager
def hosts() -> Iterator[Hosts]:
    """Taken down at the end."""
    with Cluster(1, 2, name="bench-net") as cluster:
        assert cluster.lan is not None
        with Registry(cluster.lan.gateway) as registry:
            registry.push(debian_images.busybox())
            yield Hosts(cluster, f"{registry.address}/busybox:latest")


def hosts_of(place: Place, name: str) -> set[str]:
    """The addresses that a sandbox's resolver says of a name now."""
    return set(place.host.run(*place.enter, *PROGRAM, "resolve", name).stdout.split())
