"""A service of 100 replicas: from `service create` to all running, and its removal."""

from __future__ import annotations

import time
from collections.abc import Callable
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


def cycle(engine: Engine, image: str, name: str, *options: str) -> tuple[float, float, int]:
    """Seconds to all running, seconds to all gone, memory of the daemons in bytes meanwhile."""
    started = time.monotonic()
    engine.cli(
        "service", "create", "-d", "--no-resolve-image", "--name", name, "--replicas",
        str(REPLICAS), "--stop-grace-period", "0s", *options, image, "sleep", "3600",
    )  # fmt: skip
    wait(lambda: engine.running(name) == REPLICAS, f"{name} running")
    up_s = time.monotonic() - started
    time.sleep(2)
    memory = sum(pss_bytes(pid) for pid in engine.daemon_pids())
    started = time.monotonic()
    engine.cli("service", "rm", name)
    wait(lambda: engine.containers() == 0, f"{name} gone")
    return up_s, time.monotonic() - started, memory


def measure(docker: DockerPeer, ours: SwarmliteHost, image: str) -> list[Row]:
    """Both sides, with and without an overlay network, one after the other."""
    rows = []
    for network, goal in (("overlay", 10.0), ("none", 5.0)):
        options = ("--network", "bench") if network == "overlay" else ()
        if options:
            docker.cli("network", "create", "-d", "overlay", "bench")
            ours.cli("network", "create", "-d", "overlay", "bench")
        ours_up, ours_down, ours_memory = cycle(ours, ours.image, f"ours-{network}", *options)
        peer_up, peer_down, peer_memory = cycle(docker, image, f"peer-{network}", *options)
        label = "on an overlay" if options else "without a network"
        rows.append(
            ratio_row(f"{REPLICAS} replicas {label}: rate", "containers/s",
                      REPLICAS / ours_up, REPLICAS / peer_up, at_least=goal)
        )  # fmt: skip
        rows.append(
            ratio_row(f"{REPLICAS} replicas {label}: removal rate", "containers/s",
                      REPLICAS / ours_down, REPLICAS / peer_down, at_least=5)
        )  # fmt: skip
        rows.append(
            ratio_row(f"daemons' memory at {REPLICAS} containers, {label}", "MiB",
                      ours_memory / 2**20, peer_memory / 2**20, at_most=0.5)
        )  # fmt: skip
    return rows
