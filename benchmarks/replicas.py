"""A service of 100 replicas: from `service create` to all running, and its removal.

Both sides take turns, ours first and last: A B A B A on an overlay, A B A without a network, where
Docker's engine takes about a minute a turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .docker_peer import DockerPeer, pss_bytes
from .swarmlite_host import SwarmliteHost
from .table import Row, alone_row, median, spread_row

REPLICAS = 100
TIMEOUT_S = 120.0
POLL_S = 0.04
TURNS = {"overlay": 2, "none": 1}
"""Docker's turns; ours are one more."""
NETWORK = "bench"


class Engine(Protocol):
    """What both sides answer."""

    def cli(self, *args: str) -> str: ...
    def running(self, service: str) -> int: ...
    def containers(self) -> int: ...
    def daemon_pids(self) -> list[int]: ...


def wait(condition: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {timeout_s} s")
        time.sleep(POLL_S)


def memory_bytes(engine: Engine) -> int:
    return sum(pss_bytes(pid) for pid in engine.daemon_pids())


@dataclass(frozen=True)
class Cycle:
    """A service's life: rates to all running and to all gone, the daemons' memory meanwhile."""

    up: float
    down: float
    memory_mib: float
    container_kib: float


def cycle(engine: Engine, image: str, name: str, *options: str, replicas: int = REPLICAS) -> Cycle:
    """Create a service, wait until all of it runs, remove it, wait until all is gone."""
    idle = memory_bytes(engine)
    started = time.monotonic()
    engine.cli(
        "service", "create", "-d", "--no-resolve-image", "--name", name, "--replicas",
        str(replicas), "--stop-grace-period", "0s", *options, image, "sleep", "3600",
    )  # fmt: skip
    wait(lambda: engine.running(name) == replicas, f"{name} running")
    up_s = time.monotonic() - started
    time.sleep(2)
    memory = memory_bytes(engine)
    started = time.monotonic()
    engine.cli("service", "rm", name)
    wait(lambda: engine.containers() == 0, f"{name} gone")
    down_s = time.monotonic() - started
    share = (memory - idle) / replicas / 2**10
    return Cycle(replicas / up_s, replicas / down_s, memory / 2**20, share)


def measure(docker: DockerPeer, ours: SwarmliteHost, image: str) -> list[Row]:
    """Both sides, with and without an overlay network."""
    rows = []
    for network, least in (("overlay", 12.0), ("none", 5.0)):
        options = ("--network", NETWORK) if network == "overlay" else ()
        if options:
            for side in (docker, ours):
                side.cli("network", "create", "-d", "overlay", NETWORK)
        mine = [cycle(ours, ours.image, f"ours-{network}-0", *options)]
        peer = []
        for turn in range(1, TURNS[network] + 1):
            peer.append(cycle(docker, image, f"peer-{network}-{turn}", *options))
            mine.append(cycle(ours, ours.image, f"ours-{network}-{turn}", *options))
        rows += _rows(f"{REPLICAS} replicas on {network}", mine, peer, least)
    return rows


def _rows(what: str, mine: Sequence[Cycle], peer: Sequence[Cycle], least: float) -> list[Row]:
    def both(value: Callable[[Cycle], float]) -> tuple[list[float], list[float]]:
        return [value(c) for c in mine], [value(c) for c in peer]

    return [
        spread_row(f"{what}: rate", "/s", *both(lambda c: c.up), at_least=least),
        spread_row(f"{what}: removal rate", "/s", *both(lambda c: c.down), at_least=5),
        spread_row(f"{what}: all daemons' memory", "MiB", *both(lambda c: c.memory_mib),
                   at_most=0.5),
        alone_row(f"{what}: of it a container", "KiB", median([c.container_kib for c in mine]),
                  at_most=80),
    ]  # fmt: skip
