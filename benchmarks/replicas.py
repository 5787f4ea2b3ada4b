"""A service of 100 replicas: from `service create` to all running, and its removal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .docker_peer import DockerPeer, pss_bytes
from .swarmlite_host import SwarmliteHost
from .table import Row, ratio_row

REPLICAS = 100
TIMEOUT_S = 120.0


class Engine(Protocol):
    """What both sides answer."""

    def cli(self, *args: str) -> str: ...
    def running(self, service: str) -> int: ...
    def containers(self) -> int: ...
    def daemon_pids(self) -> list[int]: ...


def wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {TIMEOUT_S} s")
        time.sleep(0.02)


def memory_bytes(engine: Engine) -> int:
    return sum(pss_bytes(pid) for pid in engine.daemon_pids())


@dataclass(frozen=True)
class Cycle:
    """A service's life: seconds to all running and to all gone, the daemons' memory meanwhile."""

    up_s: float
    down_s: float
    memory_bytes: int
    container_bytes: int


def cycle(engine: Engine, image: str, name: str, *options: str) -> Cycle:
    """Create a service of REPLICAS, wait until all run, remove it, wait until all are gone."""
    idle = memory_bytes(engine)
    started = time.monotonic()
    engine.cli(
        "service", "create", "-d", "--no-resolve-image", "--name", name, "--replicas",
        str(REPLICAS), "--stop-grace-period", "0s", *options, image, "sleep", "3600",
    )  # fmt: skip
    wait(lambda: engine.running(name) == REPLICAS, f"{name} running")
    up_s = time.monotonic() - started
    time.sleep(2)
    memory = memory_bytes(engine)
    started = time.monotonic()
    engine.cli("service", "rm", name)
    wait(lambda: engine.containers() == 0, f"{name} gone")
    down_s = time.monotonic() - started
    return Cycle(up_s, down_s, memory, (memory - idle) // REPLICAS)


def measure(docker: DockerPeer, ours: SwarmliteHost, image: str) -> list[Row]:
    """Both sides, with and without an overlay network, one after the other."""
    rows = []
    for network, goal in (("overlay", 12.0), ("none", 5.0)):
        options = ("--network", "bench") if network == "overlay" else ()
        if options:
            docker.cli("network", "create", "-d", "overlay", "bench")
            ours.cli("network", "create", "-d", "overlay", "bench")
        mine = cycle(ours, ours.image, f"ours-{network}", *options)
        peer = cycle(docker, image, f"peer-{network}", *options)
        label = "on an overlay" if options else "without a network"
        rows += [
            ratio_row(f"{REPLICAS} replicas {label}: rate", "containers/s",
                      REPLICAS / mine.up_s, REPLICAS / peer.up_s, at_least=goal),
            ratio_row(f"{REPLICAS} replicas {label}: removal rate", "containers/s",
                      REPLICAS / mine.down_s, REPLICAS / peer.down_s, at_least=5),
            ratio_row(f"daemons' memory at {REPLICAS} containers, {label}", "MiB",
                      mine.memory_bytes / 2**20, peer.memory_bytes / 2**20, at_most=0.5),
            ratio_row(f"of it a container, {label}", "KiB",
                      mine.container_bytes / 2**10, peer.container_bytes / 2**10, at_most=0.5),
        ]  # fmt: skip
    return rows
