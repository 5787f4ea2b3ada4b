"""Docker's API: the same requests to our socket and to Docker's engine, in the same run."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .docker_peer import DockerPeer, UnixConnection
from .engine import LOG_BYTES, LOG_LINES, WRITER, timed
from .swarmlite_host import SwarmliteHost
from .table import Row, alone_row, median, ratio_row

VERSION = "/v1.41"
CONTAINERS = SERVICES = STREAMS = 100
TASKS = 1000
ROUNDS = 15
TIMEOUT_S = 120.0
LABEL = "bench.api"


class Side:
    """One engine by its socket; `image` has sh, cat and true."""

    def __init__(self, path: Path, image: str) -> None:
        self.path, self.image = path, image

    def open(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        """The answer's head has come. Raises RuntimeError for an error."""
        connection = UnixConnection(str(self.path))
        headers = {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        connection.request(method, VERSION + path, data, headers)
        answer = connection.getresponse()
        if answer.status >= 400:
            raise RuntimeError(f"{self.path}: {method} {path}: {answer.read()!r}")
        return answer

    def ask(self, method: str, path: str, body: object = None) -> Any:
        with contextlib.closing(self.open(method, path, body)) as answer:
            data = answer.read()
        return json.loads(data) if data.strip().startswith((b"{", b"[")) else None

    def length(self, path: str) -> int:
        """Of an answer that is read and not kept."""
        total = 0
        with contextlib.closing(self.open("GET", path)) as answer:
            while data := answer.read(1 << 20):
                total += len(data)
        return total

    def start(self, *command: str, **config: Any) -> str:
        body = {"Image": self.image, "Cmd": list(command), "Labels": {LABEL: ""}, **config}
        made = str(self.ask("POST", "/containers/create", body)["Id"])
        self.ask("POST", f"/containers/{made}/start")
        return made

    def attached(self, container: str) -> socket.socket:
        """A stream of a container's terminal, both ways."""
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(TIMEOUT_S)
        made.connect(str(self.path))
        path = f"{VERSION}/containers/{container}/attach?stream=1&stdin=1&stdout=1"
        lines = (f"POST {path} HTTP/1.1", "Host: d", "Connection: Upgrade", "Upgrade: tcp")
        made.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += made.recv(4096)
        return made

    def command(self, *args: str) -> None:
        """`docker ARGS...`."""
        words = ["docker", "-H", f"unix://{self.path}", *args]
        subprocess.run(words, check=True, capture_output=True, timeout=TIMEOUT_S)

    def clear(self) -> None:
        """Containers and services of this file's."""
        query = urlencode({"all": "1", "filters": json.dumps({"label": [LABEL]})})
        for found in self.ask("GET", f"/containers/json?{query}"):
            self.ask("DELETE", f"/containers/{found['Id']}?force=1&v=1")
        for found in self.ask("GET", "/services"):
            self.ask("DELETE", f"/services/{found['ID']}")


def measure(docker: DockerPeer, host: SwarmliteHost, image: str) -> list[Row]:
    """Every row."""
    ours = Side(host.cluster.manager.paths.docker_socket, host.image)
    theirs = Side(docker.socket, image)
    first = _first(host, ours)
    kept = socket.socket(socket.AF_UNIX)  # while it is connected, the process stays
    kept.connect(str(ours.path))
    try:
        return [
            first,
            _run(ours, theirs),
            *_containers(ours, theirs),
            *_swarm(ours, theirs),
            _logs(ours, theirs),
            _memory(host),
        ]
    finally:
        kept.close()
        ours.clear()
        theirs.clear()


def _both(what: str, work: Callable[[Side], object], ours: Side, theirs: Side) -> Row:
    mine, other = (
        median(timed(lambda side=side: work(side), ROUNDS))  # type: ignore[misc]
        for side in (ours, theirs)
    )
    return ratio_row(what, "ms", mine * 1e3, other * 1e3, at_most=1.0)


def _gateway(host: SwarmliteHost) -> int:
    return int(host.cluster.manager.status()["children"]["gateway"]["pid"] or 0)


def _pid(host: SwarmliteHost) -> int:
    """As this machine sees the process."""
    [pid] = [
        pid
        for pid in host.daemon_pids(("python", "swarmlite"))
        if b"swarmlite.gateway" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return pid


def _first(host: SwarmliteHost, ours: Side) -> Row:
    """Of a node whose process is not there: it starts, and asks the engine."""

    def once() -> float:
        if _gateway(host):
            os.kill(_pid(host), signal.SIGTERM)
            deadline = time.monotonic() + TIMEOUT_S
            while _gateway(host) and time.monotonic() < deadline:
                time.sleep(0.02)
        started = time.perf_counter()
        ours.ask("GET", "/containers/json")
        return time.perf_counter() - started

    ours.ask("GET", "/_ping")
    samples = [once() for _ in range(7)]
    return alone_row(
        "first request on an idle node (GET /containers/json)", "ms",
        median(samples) * 1e3, at_most=400,
    )  # fmt: skip


def _run(ours: Side, theirs: Side) -> Row:
    mine, other = (
        median(timed(lambda side=side: side.command("run", "--rm", side.image, "true"), 10))  # type: ignore[misc]
        for side in (ours, theirs)
    )
    return ratio_row("docker run --rm IMAGE true", "ms", mine * 1e3, other * 1e3, at_most=0.35)


def _containers(ours: Side, theirs: Side) -> Iterator[Row]:
    made = {
        side: [side.start("sh", "-c", "cat", OpenStdin=True, Tty=True) for _ in range(CONTAINERS)]
        for side in (ours, theirs)
    }
    yield _both(
        f"GET /containers/json with {CONTAINERS} containers",
        lambda side: side.ask("GET", "/containers/json"), ours, theirs,
    )  # fmt: skip
    yield _both(
        f"{STREAMS} attached streams at once, a line through each",
        lambda side: _streams(side, made[side][:STREAMS]), ours, theirs,
    )  # fmt: skip


def _streams(side: Side, containers: list[str]) -> None:
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(side.attached(each)) for each in containers]
        for stream in streams:
            stream.sendall(b"line\n")
        for stream in streams:
            found = b""
            while found.count(b"line\r\n") < 2:  # the terminal's echo, and cat's
                found += stream.recv(4096)


def _swarm(ours: Side, theirs: Side) -> Iterator[Row]:
    """Tasks that no node suits: what is compared is the API and not how fast containers start."""
    for side in (ours, theirs):
        for number in range(SERVICES):
            side.ask("POST", "/services/create", {
                "Name": f"bench-{number}",
                "TaskTemplate": {
                    "ContainerSpec": {"Image": side.image, "Args": ["sleep", "600"]},
                    "Placement": {"Constraints": ["node.labels.bench == none"]},
                },
                "Mode": {"Replicated": {"Replicas": TASKS // SERVICES}},
                "EndpointSpec": {"Ports": []},
            })  # fmt: skip
        deadline = time.monotonic() + TIMEOUT_S
        while len(side.ask("GET", "/tasks")) < TASKS:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{side.path}: tasks are not made")
            time.sleep(0.2)
    yield _both(
        f"GET /services?status=true with {SERVICES} services",
        lambda side: side.ask("GET", "/services?status=true"), ours, theirs,
    )  # fmt: skip
    yield _both(
        f"GET /tasks with {TASKS:,} tasks", lambda side: side.ask("GET", "/tasks"), ours, theirs
    )


def _logs(ours: Side, theirs: Side) -> Row:
    """100 MB in lines of 100 bytes, kept whole on both sides; MB/s."""
    log = {"Type": "json-file", "Config": {"max-size": "1g"}}
    rates = []
    for side in (ours, theirs):
        made = side.start("sh", "-c", WRITER, HostConfig={"LogConfig": log})
        side.ask("POST", f"/containers/{made}/wait")
        started = time.perf_counter()
        length = side.length(f"/containers/{made}/logs?stdout=1&stderr=1")
        rates.append(LOG_BYTES / 1e6 / (time.perf_counter() - started))
        assert length >= LOG_BYTES + 8, length
    what = f"GET logs of {LOG_LINES:,} lines, 100 MB"
    return ratio_row(what, "MB/s", rates[0], rates[1], at_least=1.0)


def _memory(host: SwarmliteHost) -> Row:
    """The most that the process had under all of the above."""
    status = Path(f"/proc/{_pid(host)}/status").read_text()
    [peak] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return alone_row(
        "most memory of the API's process under this load", "MB",
        int(peak.split()[1]) * 1024 / 1e6, at_most=70,
    )  # fmt: skip
