"""A build of ten steps, cold and warm, beside both builders of Docker's engine."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from swarmlite.testing import images as debian_images
from swarmlite.testing.oci import docker_archive

from .docker_peer import DockerPeer
from .swarmlite_host import SwarmliteHost
from .table import Row, median, ratio_row

ROUNDS = 3
BASE = "bench-base:1"
TIMEOUT_S = 300.0
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
Build = Callable[[Path, str], None]


def measure(docker: DockerPeer, ours: SwarmliteHost) -> list[Row]:
    """Rows against each builder that runs here."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="swl-bench-build-") as name:
        folder = Path(name)
        archive = folder / "base.tar"
        archive.write_bytes(docker_archive([debian_images.busybox().named(BASE)]))
        context = _context(folder / "context")
        ours.cli("image", "load", "-q", "-i", str(archive))
        docker.cli("load", "-q", "-i", str(archive))
        cold, warm = _times(lambda path, mark: _ours(ours, path, mark), context)
        for builder, kit in (("classic builder", "0"), ("BuildKit", "1")):
            build = _docker(docker, kit)
            try:
                theirs = _times(build, context)
            except RuntimeError as error:
                print(f"no {builder} here: {str(error).splitlines()[-1]}")
                continue
            what = f"ten steps, beside the {builder}"
            rows.append(ratio_row(f"build cold, {what}", "s", cold, theirs[0], at_most=0.7))
            rows.append(ratio_row(f"build warm, {what}", "s", warm, theirs[1], at_most=0.3))
    return rows


def _context(folder: Path) -> Path:
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    for number in range(20):
        (folder / f"file{number}").write_bytes(os.urandom(50_000))
    return folder


def _times(build: Build, context: Path) -> tuple[float, float]:
    """Seconds of a build that nobody has made before, and of the same once more: medians."""
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(ROUNDS):
        mark = os.urandom(6).hex()
        for times in (cold, warm):
            began = time.perf_counter()
            build(context, mark)
            times.append(time.perf_counter() - began)
    return median(cold), median(warm)


def _ours(host: SwarmliteHost, context: Path, mark: str) -> None:
    host.cli("build", "-q", "--build-arg", f"ROUND={mark}", "-t", "bench-built", str(context))


def _docker(docker: DockerPeer, kit: str) -> Build:
    def build(context: Path, mark: str) -> None:
        command = ["docker", "-H", f"unix://{docker.socket}", "build", "-q"]
        command += ["--build-arg", f"ROUND={mark}", "-t", "bench-built", str(context)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env={**os.environ, "DOCKER_BUILDKIT": kit},
        )
        if done.returncode:
            raise RuntimeError(f"docker build: {done.stderr or done.stdout}")

    return build
