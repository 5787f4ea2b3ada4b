"""40 services, by `service create` and by `stack deploy`: until all of them run, and `service ls`.

Both sides take turns, ours first and last. A service is one replica on the host's own network, so
that the time is the control plane's and not that of 40 interfaces.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from .docker_peer import DockerPeer
from .replicas import wait
from .swarmlite_host import SwarmliteHost
from .table import Row, spread_row

SERVICES, TURNS = 40, 1
"""Docker's turns; ours are one more."""
STACK = "bench"
SERVICE = """\
  s{number}:
    image: {image}
    command: [sleep, "3600"]
    stop_grace_period: 0s
    networks: [host]
"""
NETWORKS = "networks:\n  host: {external: true, name: host}\n"


class Engine(Protocol):
    """What both sides answer."""

    def cli(self, *args: str) -> str: ...
    def running(self, service: str) -> int: ...
    def containers(self) -> int: ...


def measure(docker: DockerPeer, ours: SwarmliteHost, image: str) -> list[Row]:
    """Seconds of each way, in turn with Docker's."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[Engine, str], float]] = {
            f"`service create` of {SERVICES} services": _created,
            f"`stack deploy` of {SERVICES} services": lambda engine, image: _deployed(
                engine, image, Path(folder) / "compose.yml"
            ),
        }
        for what, way in ways.items():
            mine, peer = [way(ours, ours.image)], []
            for _ in range(TURNS):
                peer.append(way(docker, image))
                mine.append(way(ours, ours.image))
            rows.append(spread_row(f"{what}: to all running", "s", mine, peer, at_most=0.1))
    return rows


def _created(engine: Engine, image: str) -> float:
    names = [f"s{number}" for number in range(SERVICES)]
    started = time.monotonic()
    for name in names:
        engine.cli(
            "service", "create", "-d", "--no-resolve-image", "--name", name, "--network", "host",
            "--stop-grace-period", "0s", image, "sleep", "3600",
        )  # fmt: skip
    return _until_all_run(engine, names, started)


def _deployed(engine: Engine, image: str, file: Path) -> float:
    services = "".join(SERVICE.format(number=n, image=image) for n in range(SERVICES))
    file.write_text(f'version: "3.8"\nservices:\n{services}{NETWORKS}')
    names = [f"{STACK}_s{number}" for number in range(SERVICES)]
    started = time.monotonic()
    engine.cli("stack", "deploy", "--resolve-image", "never", "-c", str(file), STACK)
    return _until_all_run(engine, names, started)


def _until_all_run(engine: Engine, names: list[str], started: float) -> float:
    """Seconds; the services are gone afterwards."""
    for name in reversed(names):
        wait(lambda name=name: engine.running(name) == 1, f"{name} running")
    took = time.monotonic() - started
    engine.cli("service", "rm", *names)
    wait(lambda: engine.containers() == 0, "40 services gone")
    return took
