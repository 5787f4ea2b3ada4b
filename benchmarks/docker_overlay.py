"""Two Docker engines in one swarm, and a container of each on one of its overlays."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from swarmlite.testing.namespaces import Machine, ip_batch

from .docker_peer import DockerPeer
from .network_hosts import PROGRAM, serving
from .start_latency import rootfs

ADDRESSES = ("192.168.98.1", "192.168.98.2")
NETWORK = "bench-overlay"


class DockerPlace:
    """The network namespace of a container."""

    def __init__(self, docker: DockerPeer, name: str, image: str) -> None:
        """A container that waits. Raises RuntimeError with what Docker says."""
        command = ("--network", NETWORK, image, "/bin/busybox", "sleep", "1000")
        docker.cli("run", "-d", "--name", name, *command)
        state = json.loads(docker.cli("inspect", name))[0]
        self.address = str(state["NetworkSettings"]["Networks"][NETWORK]["IPAddress"])
        assert docker.machine is not None
        inside = ["nsenter", "-t", str(state["State"]["Pid"]), "-n"]
        # Whoever kills the command that enters ends what it began.
        self._enter = docker.machine.enter([*inside, "setpriv", "--pdeathsig", "KILL"])

    def load(self, what: str, *arguments: object) -> float:
        """One figure of a load."""
        command = [*self._enter, *PROGRAM, what, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        return float(done.stdout)

    def server(self, port: int) -> AbstractContextManager[None]:
        """The other end of all loads."""
        command = [*self._enter, *PROGRAM, "server", str(port)]
        return serving(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))


@contextlib.contextmanager
def places() -> Iterator[tuple[DockerPlace, DockerPlace]]:
    """A client and a server on two engines.

    Raises RuntimeError where Docker's overlay does not run.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "root"
        rootfs(folder)
        wire = Machine("docker-wire")
        stack.callback(wire.kill)
        ip_batch(wire.pid, ["link add wire type bridge", "link set wire up"])
        engines = [stack.enter_context(DockerPeer(address)) for address in ADDRESSES]
        for number, engine in enumerate(engines):
            assert engine.machine is not None
            port = f"port{number}"
            ip_batch(engine.machine.pid, [f"link set eth1 name {port} netns {wire.pid}"])
            ip_batch(wire.pid, [f"link set {port} master wire up"])
            engine.import_image(folder, "bench")
        one, two = engines
        two.cli("swarm", "leave", "--force")
        token = one.cli("swarm", "join-token", "-q", "worker").strip()
        join = ("swarm", "join", "--token", token, "--advertise-addr", ADDRESSES[1])
        two.cli(*join, f"{ADDRESSES[0]}:2377")
        one.cli("network", "create", "-d", "overlay", "--attachable", NETWORK)
        yield DockerPlace(two, "client", "bench"), DockerPlace(one, "server", "bench")
