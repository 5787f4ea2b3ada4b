"""Whole commands, from their start to their end, beside Debian's docker command."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import swarmlite
from swarmlite.proto.control_pb2 import CreateServiceRequest
from swarmlite.proto.specs_pb2 import ServiceSpec

from .docker_peer import DockerPeer
from .swarmlite_host import SwarmliteHost
from .table import Row, spread_row

SERVICES, ROUNDS = 100, 20
LIBRARY = Path(swarmlite.__file__).parent.parent
LAUNCHER = f"""\
#!{sys.executable} -IS
import sys

sys.path.append("{LIBRARY}")
from swarmlite.cli import main

sys.exit(main())
"""
"""As the Debian package's and install.sh's; pip's own would load `site` and `re` first."""


def measure(peer: DockerPeer, host: SwarmliteHost, image: str) -> list[Row]:
    """Each row's rounds in turn with Docker's, after one of each that does not count."""
    for number in range(SERVICES):
        name = f"listed{number}"
        spec = ServiceSpec()
        spec.annotations.name = name
        spec.task.container.image = host.image
        spec.replicated.replicas = 0
        host.control.CreateService(CreateServiceRequest(spec=spec))
        task = {"ContainerSpec": {"Image": image}}
        wanted = {"Name": name, "TaskTemplate": task, "Mode": {"Replicated": {"Replicas": 0}}}
        peer.request("POST", "/v1.41/services/create", wanted)
    paths = host.cluster.manager.paths
    with tempfile.TemporaryDirectory() as folder:
        launcher = Path(folder) / "swarmlite"
        launcher.write_text(LAUNCHER)
        launcher.chmod(0o755)
        mine = [str(launcher), "--run-dir", str(paths.run_dir), "--state-dir", str(paths.state_dir)]
        theirs = ["docker", "-H", f"unix://{peer.socket}"]
        return [
            _row(f"the command `service ls` of {SERVICES} services",
                 [*mine, "service", "ls"], [*theirs, "service", "ls"]),
            _row("the command `--help`", [str(launcher), "--help"], ["docker", "--help"]),
        ]  # fmt: skip


def _row(what: str, mine: Sequence[str], theirs: Sequence[str]) -> Row:
    samples: tuple[list[float], list[float]] = [], []
    for number in range(ROUNDS + 1):
        for command, kept in zip((mine, theirs), samples, strict=True):
            took = _timed(command)
            if number:
                kept.append(took)
    ours, peers = ([took * 1e3 for took in kept] for kept in samples)
    return spread_row(what, "ms", ours, peers, at_most=1.5)


def _timed(command: Sequence[str]) -> float:
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=kept)
    return time.perf_counter() - started
