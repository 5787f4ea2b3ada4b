"""A large swarm: 100,000 tasks on 2,000 simulated agents. Takes minutes."""

from __future__ import annotations

import time

from .control_plane import probes
from .simulated_swarm import SimulatedSwarm
from .table import Row, alone_row

AGENTS, TASKS, WARM_UP = 2000, 100_000, 2000
TIMEOUT_S = 300.0


def measure() -> list[Row]:
    """Once: a second round would take as long, and the figure is of tens of seconds."""
    with SimulatedSwarm(AGENTS, processes=2) as swarm:
        warm = swarm.create("warm-up", WARM_UP)
        swarm.until(lambda: swarm.running(warm) == WARM_UP, TIMEOUT_S)
        swarm.remove(warm, TIMEOUT_S)
        both = probes(swarm.control)
        for probe in both:
            probe.start()
        started = time.monotonic()
        service = swarm.create("many", TASKS)
        swarm.until(lambda: swarm.running(service) == TASKS, TIMEOUT_S)
        elapsed = time.monotonic() - started
        reads_ms, writes_ms = (probe.end() for probe in both)
        memory = swarm.memory_bytes()
    what = f"{TASKS:,} tasks on {AGENTS:,} simulated agents"
    return [
        alone_row(f"{what}: create to all RUNNING in etcd", "s", elapsed, at_most=25),
        alone_row(f"{what}: the API's p99 meanwhile, reads", "ms", reads_ms),
        alone_row(f"{what}: the same, small writes", "ms", writes_ms),
        alone_row(f"{what}: the manager's memory", "MB", memory / 1e6, at_most=900),
    ]
