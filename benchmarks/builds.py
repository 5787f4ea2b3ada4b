"""A build of ten steps, cold and warm, beside both builders of Debian's docker.io.

Beside the classic one both engines are asked through Docker's API. BuildKit is asked by a session
of Docker's command only: there command is beside command, with what each takes to start.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from swarmlite.testing import images as debian_images
from swarmlite.testing.oci import docker_archive

from .docker_peer import DockerPeer
from .spending import Spent, spending
from .swarmlite_host import SwarmliteHost
from .table import Row, spread_row

BASE = "bench-base:1"
DOCKER = "/usr/bin/docker"
"""Debian's command, which has BuildKit's session; newer ones have it in a package of its own."""
TIMEOUT_S = 300.0
WARM = 5  # of each round: they are short
FILES, FILE_BYTES = 20, 50_000
Build = Callable[[str], None]
Daemons = Callable[[], Iterable[int]]
DOCKERFILE = f"""FROM {BASE}
ARG ROUND
ENV ROUND=$ROUND
WORKDIR /app
COPY . /app/
RUN echo "$ROUND" > /app/round
RUN mkdir -p /data && cat /app/file* > /data/all
RUN sha256sum /data/all > /data/sum
RUN for i in 1 2 3 4 5; do cp /data/all /data/$i; done
RUN rm /data/1 /data/2
CMD ["sh"]
"""


def measure(docker: DockerPeer, ours: SwarmliteHost, rounds: int) -> list[Row]:
    """Rows of both, in turn."""
    with tempfile.TemporaryDirectory(prefix="swl-bench-build-") as name:
        archive = Path(name) / "base.tar"
        archive.write_bytes(docker_archive([debian_images.busybox().named(BASE)]))
        ours.cli("image", "load", "-q", "-i", str(archive))
        docker.cli("load", "-q", "-i", str(archive))
    context = build_context()
    sides = (
        (ours.cluster.manager.paths.docker_socket, ours.daemon_pids),
        (docker.socket, docker.daemon_pids),
    )

    def asked(path: Path) -> Build:
        return lambda mark: build(path, context, mark)

    rows = _compared(
        "build of ten steps", [(asked(path), daemons) for path, daemons in sides], rounds
    )
    if not Path(DOCKER).exists():
        return rows
    with tempfile.TemporaryDirectory(prefix="swl-bench-context-") as name:
        with tarfile.open(fileobj=io.BytesIO(context)) as tar:
            tar.extractall(name, filter="data")
        by_command: list[tuple[Build, Daemons]] = [
            (lambda mark: _ours(ours, mark, name), ours.daemon_pids),
            (lambda mark: _buildkit(docker, mark, name), docker.daemon_pids),
        ]
        return rows + _compared("the command build, beside BuildKit's", by_command, rounds)


def _compared(what: str, sides: Sequence[tuple[Build, Daemons]], rounds: int) -> list[Row]:
    for make, _ in sides:
        make(os.urandom(6).hex())  # what is loaded at the first one only
    cold: list[list[Spent]] = [[], []]
    warm: list[list[Spent]] = [[], []]
    for _ in range(rounds):
        for place, (make, daemons) in enumerate(sides):
            mark = os.urandom(6).hex()
            for spent_by, times in ((cold, 1), (warm, WARM)):
                for _ in range(times):
                    with spending(daemons) as spent:
                        make(mark)
                    spent_by[place].append(spent)
    rows = []
    for kind, spent_by, at_most in (("cold", cold, 0.7), ("warm", warm, 0.3)):
        clock = [[one.clock_s for one in side] for side in spent_by]
        cpu = [[one.cpu_s for one in side] for side in spent_by]
        name = f"{what}, {kind}"
        rows.append(spread_row(name, "s", clock[0], clock[1], at_most=at_most))
        rows.append(spread_row(f"{name}: CPU of the daemons", "s", cpu[0], cpu[1]))
    return rows


def _ours(ours: SwarmliteHost, mark: str, folder: str) -> None:
    ours.cli("build", "-q", "-t", "bench-built:1", "--build-arg", f"ROUND={mark}", folder)


def _buildkit(docker: DockerPeer, mark: str, folder: str) -> None:
    words = ("build", "-q", "-t", "bench-built:1", "--build-arg", f"ROUND={mark}", folder)
    subprocess.run(
        [DOCKER, "-H", f"unix://{docker.socket}", *words],
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        capture_output=True, check=True, timeout=TIMEOUT_S,
    )  # fmt: skip


def build_context() -> bytes:
    """The tar of a Dockerfile and some files."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        files = {f"file{number}": os.urandom(FILE_BYTES) for number in range(FILES)}
        for name, data in {"Dockerfile": DOCKERFILE.encode(), **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return written.getvalue()


def build(path: Path, context: bytes, mark: str) -> None:
    """Build through the Docker API on a unix socket. Raises RuntimeError with what it says."""
    arguments = quote(json.dumps({"ROUND": mark}))
    connection = http.client.HTTPConnection("docker", timeout=TIMEOUT_S)
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(TIMEOUT_S)
        connected.connect(str(path))
        connection.sock = connected
        connection.request(
            "POST",
            f"/v1.41/build?t=bench-built:1&buildargs={arguments}",
            context,
            {"Content-Type": "application/x-tar"},
        )
        answer = connection.getresponse()
        text = answer.read().decode()
    if answer.status >= 400 or '"error"' in text:
        raise RuntimeError(f"build: {text[-500:]}")
