"""A build of ten steps, cold and warm, beside Docker's engine: both asked through Docker's API.

By its classic builder: BuildKit is asked by a session of its own command only, which Debian has
in a package that is not needed here (docker-buildx).
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import tarfile
import tempfile
from pathlib import Path
from urllib.parse import quote

from swarmlite.testing import images as debian_images
from swarmlite.testing.oci import docker_archive

from .docker_peer import DockerPeer
from .spending import Spent, spending
from .swarmlite_host import SwarmliteHost
from .table import Row, spread_row

BASE = "bench-base:1"
TIMEOUT_S = 300.0
WARM = 5  # of each round: they are short
FILES, FILE_BYTES = 20, 50_000
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
    for path, _ in sides:
        build(path, context, os.urandom(6).hex())  # what is loaded at the first one only
    cold: list[list[Spent]] = [[], []]
    warm: list[list[Spent]] = [[], []]
    for _ in range(rounds):
        for place, (path, daemons) in enumerate(sides):
            mark = os.urandom(6).hex()
            for spent_by, times in ((cold, 1), (warm, WARM)):
                for _ in range(times):
                    with spending(daemons) as spent:
                        build(path, context, mark)
                    spent_by[place].append(spent)
    rows = []
    for what, spent_by, at_most in (("cold", cold, 0.7), ("warm", warm, 0.3)):
        clock = [[one.clock_s for one in side] for side in spent_by]
        cpu = [[one.cpu_s for one in side] for side in spent_by]
        name = f"build of ten steps, {what}"
        rows.append(spread_row(name, "s", clock[0], clock[1], at_most=at_most))
        rows.append(spread_row(f"{name}: CPU", "s", cpu[0], cpu[1]))
    return rows


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
