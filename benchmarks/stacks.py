"""40 services, by `service create` and by `stack deploy`: until all of them run, and `service ls`.

Both sides take turns, ours first and last. A service is one replica on the host's own network, so
that the time is the control plane's and not that of 40 interfaces. As it is typed, `service create`
returns on both sides once the task has run for 5 s, so few services say as much.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .commands import LAUNCHER
from .docker_peer import DockerPeer
from .replicas import wait
from .swarmlite_host import SwarmliteHost
from .table import Row, spread_row

SERVICES, TURNS = 40, 1
"""Docker's turns; ours are one more."""
TYPED = 3
"""Services that are created one after the other without --detach."""
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

    def running(self, service: str) -> int: ...
    def containers(self) -> int: ...


@dataclass(frozen=True)
class Side:
    """An engine, the words that its command begins with, and an image that it has."""

    engine: Engine
    command: list[str]
    image: str

    def cli(self, *words: str) -> None:
        subprocess.run([*self.command, *words], check=True, capture_output=True)


def measure(docker: DockerPeer, ours: SwarmliteHost, image: str) -> list[Row]:
    """Seconds of each way, in turn with Docker's."""
    paths = ours.cluster.manager.paths
    with tempfile.TemporaryDirectory() as folder:
        launcher = Path(folder) / "swarmlite"
        launcher.write_text(LAUNCHER)
        launcher.chmod(0o755)
        command = [str(launcher), "--run-dir", str(paths.run_dir)]
        mine = Side(ours, [*command, "--state-dir", str(paths.state_dir)], ours.image)
        peer = Side(docker, ["docker", "-H", f"unix://{docker.socket}"], image)
        file = Path(folder) / "compose.yml"
        ways: dict[str, Callable[[Side], float]] = {
            f"`service create` of {SERVICES} services": _created,
            f"`stack deploy` of {SERVICES} services": lambda side: _deployed(side, file),
        }
        typed = f"`service create` of {TYPED} services as it is typed, one after the other"
        return [
            *(_row(f"{what}: to all running", way, mine, peer, 0.1) for what, way in ways.items()),
            _row(typed, lambda side: _created(side, TYPED, detach=False), mine, peer, 1.0),
        ]


def _row(what: str, way: Callable[[Side], float], mine: Side, peer: Side, at_most: float) -> Row:
    ours, theirs = [way(mine)], []
    for _ in range(TURNS):
        theirs.append(way(peer))
        ours.append(way(mine))
    return spread_row(what, "s", ours, theirs, at_most=at_most)


def _created(side: Side, count: int = SERVICES, *, detach: bool = True) -> float:
    names = [f"s{number}" for number in range(count)]
    started = time.monotonic()
    for name in names:
        side.cli(
            "service", "create", f"--detach={detach}".lower(), "--no-resolve-image", "--name", name,
            "--network", "host", "--stop-grace-period", "0s", side.image, "sleep", "3600",
        )  # fmt: skip
    return _until_all_run(side, names, started)


def _deployed(side: Side, file: Path) -> float:
    services = "".join(SERVICE.format(number=n, image=side.image) for n in range(SERVICES))
    file.write_text(f'version: "3.8"\nservices:\n{services}{NETWORKS}')
    names = [f"{STACK}_s{number}" for number in range(SERVICES)]
    started = time.monotonic()
    side.cli("stack", "deploy", "--resolve-image", "never", "-c", str(file), STACK)
    return _until_all_run(side, names, started)


def _until_all_run(side: Side, names: list[str], started: float) -> float:
    """Seconds; the services are gone afterwards."""
    engine = side.engine
    for name in reversed(names):
        wait(lambda name=name: engine.running(name) == 1, f"{name} running")
    took = time.monotonic() - started
    side.cli("service", "rm", *names)
    wait(lambda: engine.containers() == 0, f"{len(names)} services gone")
    return took
