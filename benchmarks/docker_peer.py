"""Docker's engine on a machine of namespaces of its own: nothing of it stays behind."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from swarmlite.testing import cgroup_sweep
from swarmlite.testing.namespaces import Machine, ip_batch

START_TIMEOUT_S = 30.0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class DockerPeer:
    """dockerd with a swarm of one node; `with DockerPeer() as docker`."""

    def __init__(self, address: str = "192.168.99.1", *arguments: str) -> None:
        """`arguments`: more flags for dockerd."""
        self.address = address
        self.arguments = arguments
        self.cgroup_parent = f"/swarmlite-bench-docker{os.getpid()}-{address}"
        self.root = Path(tempfile.mkdtemp(prefix="swl-docker-"))
        self.socket = self.root / "docker.sock"
        self.machine: Machine | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DockerPeer:
        self.machine = Machine("docker")
        try:
            # A link that leads nowhere: the swarm wants an address that is not loopback's.
            ip_batch(
                self.machine.pid,
                [
                    "link set lo up",
                    "link add eth0 type veth peer name eth1",
                    f"addr add {self.address}/24 dev eth0",
                    "link set eth0 up",
                    "link set eth1 up",
                ],
            )
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        assert self.machine is not None
        log = (self.root / "dockerd.log").open("wb")
        self.process = subprocess.Popen(
            self.machine.enter(
                [
                    "dockerd",
                    f"--data-root={self.root}/data",
                    f"--exec-root={self.root}/exec",
                    f"--pidfile={self.root}/docker.pid",
                    f"--host=unix://{self.socket}",
                    f"--cgroup-parent={self.cgroup_parent}",
                    "--storage-driver=overlay2",
                    *self.arguments,
                ]
            ),
            stdout=log,
            stderr=log,
        )
        log.close()
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                if self.request("GET", "/_ping") == "OK":
                    break
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.root / "dockerd.log").read_text()[-3000:])
            time.sleep(0.1)
        self.cli("swarm", "init", "--advertise-addr", self.address)

    def __exit__(self, *_: object) -> None:
        if self.machine is not None:
            self.machine.kill()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        cgroup_sweep.remove(self.cgroup_parent)
        shutil.rmtree(self.root, ignore_errors=True)

    def cli(self, *args: str) -> str:
        """`docker ARGS...`; raises CalledProcessError."""
        done = subprocess.run(
            ["docker", "-H", f"unix://{self.socket}", *args], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(args)}: {done.stderr}")
        return done.stdout

    def request(self, method: str, path: str, body: object = None) -> Any:
        """One call of the Engine API, without the command's start-up time.

        Raises RuntimeError with what Docker says of it.
        """
        connection = UnixConnection(str(self.socket))
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            if answer.status >= 400:
                raise RuntimeError(f"docker {method} {path}: {text}")
            is_json = "json" in (answer.getheader("Content-Type") or "")
            return json.loads(text) if is_json and text else text
        finally:
            connection.close()

    def length(self, method: str, path: str) -> int:
        """The length of an answer that is read to its end and not kept."""
        connection = UnixConnection(str(self.socket))
        try:
            connection.request(method, path)
            answer, total = connection.getresponse(), 0
            while chunk := answer.read(1 << 20):
                total += len(chunk)
            return total
        finally:
            connection.close()

    def import_image(self, rootfs: Path, name: str) -> None:
        """Make an image of a folder."""
        words = ["tar", "-C", str(rootfs), "-c", "."]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as tar:
            subprocess.run(
                ["docker", "-H", f"unix://{self.socket}", "import", "-", name],
                stdin=tar.stdout, check=True, capture_output=True,
            )  # fmt: skip

    def running(self, service: str) -> int:
        """How many tasks of a service run."""
        for found in self.request("GET", "/v1.41/services?status=true"):
            if found["Spec"]["Name"] == service:
                return int(found["ServiceStatus"]["RunningTasks"])
        return 0

    def updated(self, service: str) -> bool:
        """Whether the last update of a service has come to its end."""
        found = self.request("GET", f"/v1.41/services/{service}")
        return bool(found.get("UpdateStatus", {}).get("State") == "completed")

    def containers(self) -> int:
        """How many containers exist, in any state."""
        return len(self.request("GET", "/v1.41/containers/json?all=true"))

    def daemon_pids(self) -> list[int]:
        """dockerd, containerd and the shims, as the machine sees them."""
        assert self.machine is not None
        return pids_in(self.machine.pid, ("dockerd", "containerd", "docker-proxy"))


def pids_in(machine_pid: int, names: tuple[str, ...]) -> list[int]:
    """Processes in a machine's pid namespace whose name begins with one of `names`."""
    namespace = Path(f"/proc/{machine_pid}/ns/pid").readlink()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            same = Path(f"/proc/{folder.name}/ns/pid").readlink() == namespace
            command = (folder / "comm").read_text().strip()
        except OSError:
            continue
        if same and command.startswith(names):
            found.append(int(folder.name))
    return found


def pss_bytes(pid: int) -> int:
    """The proportional share of memory of a process: shared pages counted once in a sum."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
