"""Only the manager: 1,000 simulated agents and a service of 10,000 tasks, to RUNNING in etcd."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable

from swarmlite.proto.control_pb2 import CreateConfigRequest, GetRequest
from swarmlite.proto.control_pb2_grpc import ControlStub

from .simulated_swarm import SimulatedSwarm
from .table import Row, alone_row, median, percentile, spread_note

AGENTS, TASKS, ROUNDS, WARM_UP = 1000, 10_000, 3, 1000
TIMEOUT_S = 120.0


class Probe(threading.Thread):
    """Does something every few milliseconds, as another user would, and keeps how long it took."""

    def __init__(self, work: Callable[[], object], pause_s: float) -> None:
        super().__init__(daemon=True)
        self.latencies_s: list[float] = []
        self._work, self._pause_s = work, pause_s
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(self._pause_s):
            started = time.monotonic()
            self._work()
            self.latencies_s.append(time.monotonic() - started)

    def end(self) -> float:
        """Stop; the 99th percentile in milliseconds."""
        self._done.set()
        self.join()
        return percentile(self.latencies_s, 0.99) * 1e3


_numbers = itertools.count()


def probes(control: ControlStub) -> tuple[Probe, Probe]:
    """One that reads and one that makes small writes."""

    def write() -> None:
        request = CreateConfigRequest()
        request.spec.annotations.name = f"probe-{os.getpid()}-{next(_numbers)}"
        request.spec.data = b"x"
        control.CreateConfig(request, timeout=30)

    return (
        Probe(lambda: control.GetNode(GetRequest(ref="self"), timeout=30), 0.01),
        Probe(write, 0.05),
    )


def measure() -> list[Row]:
    """Seconds from create to all RUNNING, the manager's memory and CPU, the API's p99 meanwhile."""
    with SimulatedSwarm(AGENTS) as swarm:
        _round(swarm, WARM_UP)
        rounds = [_round(swarm, TASKS) for _ in range(ROUNDS)]
        memory = swarm.memory_bytes()
    seconds, cpu_s, reads_ms, writes_ms = (list(column) for column in zip(*rounds, strict=True))
    what = f"{TASKS:,} tasks on {AGENTS:,} simulated agents"
    note = spread_note(seconds)
    return [
        alone_row(f"{what}: create to all RUNNING in etcd{note}", "s", median(seconds),
                  at_most=1.8),
        alone_row(f"{what}: the API's p99 meanwhile, reads", "ms", median(reads_ms), at_most=60),
        alone_row(f"{what}: the same, small writes", "ms", median(writes_ms), at_most=60),
        alone_row(f"{what}: the manager's CPU", "s", median(cpu_s)),
        alone_row(f"{what}: the manager's memory", "MiB", memory / 2**20),
    ]  # fmt: skip


def _round(swarm: SimulatedSwarm, tasks: int) -> tuple[float, float, float, float]:
    """Seconds, seconds of CPU, and the API's p99 for reads and for writes in milliseconds."""
    time.sleep(2)
    both = probes(swarm.control)
    for probe in both:
        probe.start()
    before, started = swarm.cpu_s(), time.monotonic()
    service = swarm.create("many", tasks)
    swarm.until(lambda: swarm.running(service) == tasks, TIMEOUT_S)
    elapsed, cpu_s = time.monotonic() - started, swarm.cpu_s() - before
    reads_ms, writes_ms = (probe.end() for probe in both)
    swarm.remove(service, TIMEOUT_S)
    return elapsed, cpu_s, reads_ms, writes_ms
