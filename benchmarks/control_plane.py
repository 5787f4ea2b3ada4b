"""Only the manager: 1,000 simulated agents and a service of 10,000 tasks, to RUNNING in etcd."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import grpc

from swarmlite.proto.control_pb2 import CreateServiceRequest, GetRequest, ListRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.testing import Cluster

from .docker_peer import pids_in, pss_bytes
from .table import Row, alone_row, percentile

AGENTS, TASKS = 1000, 10_000
TIMEOUT_S = 120.0


class ApiProbe(threading.Thread):
    """Calls the API every 10 ms, as another user would, and keeps the latencies."""

    def __init__(self, control: ControlStub) -> None:
        super().__init__(daemon=True)
        self.latencies_s: list[float] = []
        self._control = control
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.01):
            started = time.monotonic()
            self._control.GetNode(GetRequest(ref="self"), timeout=30)
            self.latencies_s.append(time.monotonic() - started)

    def end(self) -> float:
        """Stop; the 99th percentile in milliseconds."""
        self._done.set()
        self.join()
        return percentile(self.latencies_s, 0.99) * 1e3


def manager_pid(cluster: Cluster) -> int:
    return int(cluster.manager.status()["children"]["manager"]["pid"])


def outer_pid(cluster: Cluster, inner: int) -> int:
    """The machine's pid of a process of the host."""
    from pathlib import Path

    for pid in pids_in(cluster.manager.pid, ("",)):
        status = Path(f"/proc/{pid}/status").read_text()
        if f"NSpid:\t{pid}\t{inner}\n" in status:
            return pid
    raise RuntimeError(f"no process {inner} on the host")


def measure() -> list[Row]:
    """Seconds from create to all RUNNING, the manager's memory, the API's p99 meanwhile."""
    with Cluster(1, 0, name="plane") as cluster:
        manager = cluster.manager
        manager.cli("node", "update", "--availability", "drain", "manager1")
        token = manager.cli("swarm", "join-token", "-q", "worker").strip()
        options = {
            "--address": f"{manager.addr}:2377",
            "--ca": str(manager.paths.certificates_dir / "ca.crt"),
            "--token": token,
            "--count": str(AGENTS),
        }
        words = [word for pair in options.items() for word in pair]
        agents = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.simulated_agents", *words],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert agents.stdout is not None
            if agents.stdout.readline().strip() != "ready":
                raise RuntimeError("the simulated agents did not get their sessions")
            with grpc.insecure_channel(f"unix:{manager.paths.manager_socket}") as channel:
                return _run(cluster, ControlStub(channel))
        finally:
            agents.kill()
            agents.wait()
            if agents.stdout:
                agents.stdout.close()


def _run(cluster: Cluster, control: ControlStub) -> list[Row]:
    probe = ApiProbe(control)
    time.sleep(2)
    spec = ServiceSpec()
    spec.annotations.name = "many"
    spec.task.container.image = "busybox:latest"
    spec.replicated.replicas = TASKS
    probe.start()
    started = time.monotonic()
    service = control.CreateService(CreateServiceRequest(spec=spec))
    while control.ListServices(ListRequest()).status[service.id].running_tasks < TASKS:
        if time.monotonic() - started > TIMEOUT_S:
            raise RuntimeError(f"not all tasks RUNNING within {TIMEOUT_S} s")
        time.sleep(0.05)
    elapsed = time.monotonic() - started
    p99_ms = probe.end()
    memory = pss_bytes(outer_pid(cluster, manager_pid(cluster)))
    what = f"{TASKS} tasks on {AGENTS} simulated agents"
    return [
        alone_row(f"{what}: create to all RUNNING in etcd", "s", elapsed, at_most=5),
        alone_row(f"{what}: the API's p99 meanwhile", "ms", p99_ms),
        alone_row(f"{what}: the manager's memory", "MiB", memory / 2**20),
    ]
