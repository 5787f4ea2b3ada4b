"""A rolling update of 50 replicas in tens, and a crashed task that runs again: in turns A B A B."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Protocol

from .docker_peer import DockerPeer
from .replicas import Engine, wait
from .swarmlite_host import SwarmliteHost
from .table import Row, spread_row

REPLICAS, AT_ONCE = 50, 10
TURNS = 2
CRASHES = 5
TIMEOUT_S = 60.0


class Updating(Engine, Protocol):
    """What both sides answer beside."""

    def updated(self, service: str) -> bool: ...


def measure(docker: DockerPeer, ours: SwarmliteHost, image: str) -> list[Row]:
    """Both rows; monitoring is off on both sides, for it is a wait that was asked for."""
    sides: tuple[tuple[Updating, str], ...] = ((ours, ours.image), (docker, image))
    for side, name in sides:
        _create(side, name, "rolling", REPLICAS, "sleep", "3600")
    rates: list[list[float]] = [[], []]
    for turn in range(TURNS):
        for (side, _), found in zip(sides, rates, strict=True):
            found.append(_rolling(side, turn))
    for side, _ in sides:
        _remove(side, "rolling")
    again: list[list[float]] = [[], []]
    for (side, name), seconds in zip(sides, ("31557600", "31557601"), strict=True):
        _create(side, name, "crashing", 1, "sleep", seconds)
    for _ in range(CRASHES):
        for seconds, found in zip(("31557600", "31557601"), again, strict=True):
            found.append(_crash(seconds) * 1e3)
    for side, _ in sides:
        _remove(side, "crashing")
    return [
        spread_row(f"rolling update of {REPLICAS} replicas in tens", "/s", *rates, at_least=20),
        spread_row("a crashed task runs again, delay 0", "ms", *again, at_most=0.15),
    ]


def _create(side: Engine, image: str, name: str, replicas: int, *command: str) -> None:
    side.cli(
        "service", "create", "-d", "--no-resolve-image", "--name", name, "--replicas",
        str(replicas), "--stop-grace-period", "0s", "--restart-delay", "0s",
        "--update-parallelism", str(AT_ONCE), "--update-monitor", "0s", image, *command,
    )  # fmt: skip
    wait(lambda: side.running(name) == replicas, f"{name} running")


def _remove(side: Engine, name: str) -> None:
    side.cli("service", "rm", name)
    wait(lambda: side.containers() == 0, f"{name} gone")


def _rolling(side: Updating, turn: int) -> float:
    """Replicas a second."""
    started = time.monotonic()
    side.cli("service", "update", "-d", "--env-add", f"TURN={turn}", "rolling")
    wait(lambda: side.updated("rolling") and side.running("rolling") == REPLICAS, "updated")
    return REPLICAS / (time.monotonic() - started)


def _crash(seconds: str) -> float:
    """From the kill of `sleep SECONDS` to another one: looked for as a process, on either side."""
    pid = _process(seconds, 0)
    started = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    _process(seconds, pid)
    took_s = time.monotonic() - started
    time.sleep(0.5)
    return took_s


def _process(seconds: str, other: int) -> int:
    """The pid of `sleep SECONDS` that is not `other`. Raises RuntimeError after a minute."""
    wanted, deadline = f"sleep\0{seconds}\0".encode(), time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != other:
                with contextlib.suppress(OSError):
                    if (folder / "cmdline").read_bytes() == wanted:
                        return int(folder.name)
        time.sleep(0.002)
    raise RuntimeError(f"sleep {seconds} does not run")
