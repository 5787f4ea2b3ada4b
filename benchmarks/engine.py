"""Plain containers of one host: run, exec, logs, and what 5,000 runs leave, beside Docker's engine.

Both sides are asked through their API, so that what is compared is the engines and not how long a
command takes to load; the commands' own times are rows without a goal.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc

from swarmlite.proto.containers_pb2 import (
    ContainerConfig,
    ContainerLogsRequest,
    ContainerRef,
    CreateContainerRequest,
    RemoveContainerRequest,
    RunInput,
    WaitContainerRequest,
)
from swarmlite.proto.containers_pb2_grpc import ContainersStub
from swarmlite.proto.control_pb2 import LogOptions

from .docker_peer import DockerPeer, pss_bytes
from .swarmlite_host import SwarmliteHost
from .table import Row, alone_row, median, ratio_row, spread_row, watched_row

ROUNDS = 40
MANY = 5000
LOG_BYTES = 100_000_000
LINE = "x" * 99
LOG_LINES = LOG_BYTES // (len(LINE) + 1)
LOG_STAMPS = 31 * LOG_LINES  # bytes of their times
WRITER = f"yes {LINE} | head -c {LOG_BYTES}"
TIMEOUT_S = 300.0
ANSWER_BYTES = 16 * 1024


class Ours:
    """The engine of one host, through its socket."""

    def __init__(self, host: SwarmliteHost) -> None:
        self.host = host
        path = host.cluster.manager.paths.agent_socket
        self.channel = grpc.insecure_channel(
            f"unix:{path}",
            options=[
                ("grpc.default_authority", "localhost"),
                ("grpc.max_receive_message_length", 64 << 20),
            ],
        )
        self.containers = ContainersStub(self.channel)

    def config(self, *command: str, network: str = "") -> ContainerConfig:
        made = ContainerConfig(network_mode=network)
        made.spec.image = self.host.image
        made.spec.args.extend(command)
        return made

    def start(self, config: ContainerConfig) -> str:
        request = CreateContainerRequest(config=config)
        container = self.containers.Create(request, timeout=TIMEOUT_S).id
        self.containers.Start(ContainerRef(ref=container), timeout=TIMEOUT_S)
        return str(container)

    def wait(self, container: str) -> int:
        request = WaitContainerRequest(ref=container)
        return int(self.containers.Wait(request, timeout=TIMEOUT_S).exit_code)

    def remove(self, container: str) -> None:
        request = RemoveContainerRequest(ref=container, force=True, volumes=True)
        self.containers.Remove(request, timeout=TIMEOUT_S)

    def run(self) -> None:
        """As `run --rm` does it: one call, which ends once it is removed."""
        config = self.config("true")
        config.auto_remove = True
        requests = iter([RunInput(config=config), RunInput(start=True)])
        codes = [m.exit_code for m in self.containers.Run(requests) if m.HasField("exit_code")]
        assert codes == [0]

    def exec(self, container: str) -> None:
        """As the gateway asks: the exec's own descriptors, see engine/io/handing.py."""
        config = {"container": container, "command": ["true"]}
        config |= {"attach_stdout": True, "attach_stderr": True}
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as engine:
            engine.settimeout(TIMEOUT_S)
            engine.connect(str(self.host.cluster.manager.paths.attach_socket))
            engine.send(json.dumps({"exec": config}).encode())
            said, streams, _, _ = socket.recv_fds(engine, ANSWER_BYTES, 4)
            assert len(streams) == 2, said
            for stream in streams:
                os.set_blocking(stream, True)
                with open(stream, "rb", buffering=0) as file:  # noqa: PTH123
                    file.read()
            assert json.loads(engine.recv(ANSWER_BYTES)) == {"exit_code": 0}

    def logs(self, container: str, *, timestamps: bool = False) -> int:
        """Bytes of text, asked for as `logs` and the gateway do."""
        options = LogOptions(tail=-1, stdout=True, stderr=True)
        request = ContainerLogsRequest(
            ref=container, options=options, plain=True, timestamps=timestamps
        )
        return sum(
            len(line.data) for reply in self.containers.Logs(request) for line in reply.messages
        )


class Docker:
    """Docker's engine, through its socket."""

    def __init__(self, peer: DockerPeer, image: str) -> None:
        self.peer, self.image = peer, image

    def start(self, *command: str) -> str:
        config = {"Image": self.image, "Cmd": list(command)}
        container = self.peer.request("POST", "/v1.41/containers/create", config)["Id"]
        self.peer.request("POST", f"/v1.41/containers/{container}/start")
        return str(container)

    def wait(self, container: str) -> int:
        answer = self.peer.request("POST", f"/v1.41/containers/{container}/wait")
        return int(answer["StatusCode"])

    def remove(self, container: str) -> None:
        self.peer.request("DELETE", f"/v1.41/containers/{container}?force=true&v=true")

    def run(self) -> None:
        container = self.start("true")
        assert self.wait(container) == 0
        self.remove(container)

    def exec(self, container: str) -> None:
        config = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
        made = self.peer.request("POST", f"/v1.41/containers/{container}/exec", config)["Id"]
        self.peer.request("POST", f"/v1.41/exec/{made}/start", {"Detach": False, "Tty": False})
        assert self.peer.request("GET", f"/v1.41/exec/{made}/json")["ExitCode"] == 0

    def logs(self, container: str, *, timestamps: bool = False) -> int:
        """Bytes of text, without the frames' headers."""
        path = f"/v1.41/containers/{container}/logs?stdout=1&stderr=1&timestamps={timestamps:d}"
        return self.peer.length("GET", path) - 8 * LOG_LINES


def timed(work: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each round, the first few left out."""
    samples = []
    for _ in range(rounds + 3):
        started = time.perf_counter()
        work()
        samples.append(time.perf_counter() - started)
    return samples[3:]


def in_turn(
    mine: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of each round of both, A B A B, the first few left out."""
    samples: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        for work, kept in zip((mine, theirs), samples, strict=True):
            started = time.perf_counter()
            work()
            kept.append((time.perf_counter() - started) * 1e3)
    return samples[0][3:], samples[1][3:]


def measure(peer: DockerPeer, host: SwarmliteHost, image: str) -> list[Row]:
    """Every row but those of `measure_calls`; both sides one after the other."""
    ours, docker = Ours(host), Docker(peer, image)
    try:
        return [*_command(ours, docker), *_logs(ours, docker), *_many(ours)]
    finally:
        ours.channel.close()


def measure_calls(peer: DockerPeer, host: SwarmliteHost, image: str) -> list[Row]:
    """A run and an exec of `true`, in turn with Docker's."""
    ours, docker = Ours(host), Docker(peer, image)
    try:
        return [*_runs(ours, docker), *_execs(ours, docker)]
    finally:
        ours.channel.close()


def _runs(ours: Ours, docker: Docker) -> Iterator[Row]:
    mine, theirs = in_turn(ours.run, docker.run, ROUNDS)
    yield spread_row("run of `true` on the default bridge, create to removed", "ms",
                     mine, theirs, at_most=0.08)  # fmt: skip


def _command(ours: Ours, docker: Docker) -> Iterator[Row]:
    command = ("run", "--rm", ours.host.image, "true")
    mine = median(timed(lambda: ours.host.cli(*command), 10))
    theirs = median(timed(lambda: docker.peer.cli("run", "--rm", docker.image, "true"), 10))
    yield watched_row("the command `run --rm IMAGE true`", "ms", mine * 1e3, theirs * 1e3)


def _execs(ours: Ours, docker: Docker) -> Iterator[Row]:
    mine, theirs = ours.start(ours.config("sleep", "600")), docker.start("sleep", "600")
    try:
        samples = in_turn(lambda: ours.exec(mine), lambda: docker.exec(theirs), 2 * ROUNDS)
        yield spread_row("exec of `true`", "ms", *samples, at_most=0.12)
    finally:
        ours.remove(mine)
        docker.remove(theirs)


def _logs(ours: Ours, docker: Docker) -> Iterator[Row]:
    """100 MB in lines of 100 bytes, kept whole on both sides; MB/s of reading them all."""
    config = ours.config("sh", "-c", WRITER)
    config.log_driver.name = "json-file"
    config.log_driver.options["max-size"] = "1g"
    mine, theirs = ours.start(config), docker.start("sh", "-c", WRITER)
    try:
        assert (ours.wait(mine), docker.wait(theirs)) == (0, 0)
        for name, stamps in (("logs of 100 MB", False), ("the same with their times", True)):
            rates = []
            for logs, container in ((ours.logs, mine), (docker.logs, theirs)):
                started = time.perf_counter()
                assert logs(container, timestamps=stamps) == LOG_BYTES + stamps * LOG_STAMPS
                rates.append(LOG_BYTES / 1e6 / (time.perf_counter() - started))
            yield ratio_row(name, "MB/s", rates[0], rates[1], at_least=1.0)
    finally:
        ours.remove(mine)
        docker.remove(theirs)


def _many(ours: Ours) -> Iterator[Row]:
    """What MANY runs in a row leave behind in the host's processes and kernel."""
    for _ in range(200):
        ours.run()
    before = _held(ours.host)
    started = time.perf_counter()
    for _ in range(MANY):
        ours.run()
    rate = MANY / (time.perf_counter() - started)
    after = _held(ours.host)
    yield alone_row(f"{MANY:,} runs of `true` in a row", "runs/s", rate)
    yield alone_row("memory of all daemons that they added", "MiB",
                    (after["memory"] - before["memory"]) / 2**20, at_most=8)  # fmt: skip
    for what in ("descriptors", "mounts", "cgroups", "network namespaces"):
        yield alone_row(f"{what} that they added", "", after[what] - before[what], at_most=0)


def _held(host: SwarmliteHost) -> dict[str, int]:
    manager = host.cluster.manager
    pids = host.daemon_pids(("swarmlite", "python"))
    cgroups = subprocess.run(
        ["find", "/sys/fs/cgroup", "-path", f"*{manager.cgroup_parent}/*", "-type", "d"],
        capture_output=True, text=True, check=False,
    ).stdout.splitlines()  # fmt: skip
    return {
        "memory": sum(pss_bytes(pid) for pid in pids),
        "descriptors": sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),  # noqa: PTH208
        "mounts": len(Path(f"/proc/{manager.pid}/mountinfo").read_text().splitlines()),
        "cgroups": len(cgroups),
        "network namespaces": len(list(manager.paths.netns_dir.iterdir())),
    }
