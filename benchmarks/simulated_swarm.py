"""A real manager, with etcd and mTLS, and agents that run nothing: see simulated_agents."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from swarmlite.proto.control_pb2 import CreateServiceRequest, ListRequest, RemoveRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import NodeStatus
from swarmlite.testing import Cluster, Host

from .docker_peer import pids_in, pss_bytes

CALL_S = 60.0
LARGE = [("grpc.max_receive_message_length", 64 << 20)]
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class SimulatedSwarm:
    """`with SimulatedSwarm(1000) as swarm`: all agents have a session then."""

    def __init__(self, agents: int, *, processes: int = 1, managers: int = 1) -> None:
        """`processes`: among how many of Python the agents are divided, these among `managers`."""
        self.agents, self.processes = agents, processes
        self.cluster = Cluster(managers, 0, name=f"p{os.getpid()}")
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> SimulatedSwarm:
        self.cluster.up()
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        manager = self.cluster.manager
        for host in self.cluster.managers:
            manager.cli("node", "update", "--availability", "drain", host.name)
        each = self.agents // self.processes
        started = [
            self._start(n * each, each, self.cluster.managers[n % len(self.cluster.managers)])
            for n in range(self.processes)
        ]
        for process in started:
            self._ready(process)
        self.channel = grpc.insecure_channel(f"unix:{manager.paths.manager_socket}", options=LARGE)
        self.control = ControlStub(self.channel)
        self.pid = self._manager_pid()

    def _start(self, first: int, count: int, asked: Host) -> subprocess.Popen[str]:
        """More agents, that join and hold sessions from now on."""
        manager = self.cluster.manager
        options = {
            "--address": f"{asked.addr}:2377",
            "--ca": str(manager.paths.certificates_dir / "ca.crt"),
            "--token": manager.cli("swarm", "join-token", "-q", "worker").strip(),
            "--first": str(first),
            "--count": str(count),
        }
        words = [word for pair in options.items() for word in pair]
        command = [sys.executable, "-m", "benchmarks.simulated_agents", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._running.append(process)
        return process

    @staticmethod
    def _ready(process: subprocess.Popen[str]) -> int:
        """Wait until they were told all that is theirs; how many bytes that took."""
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise RuntimeError("the simulated agents did not get their sessions")
        return int(words[1])

    def grow(self, count: int) -> int:
        """So many agents more; the bytes that they were told at the beginning of their sessions."""
        process = self._start(self.agents, count, self.cluster.manager)
        self.agents += count
        return self._ready(process)

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        if hasattr(self, "channel"):
            self.channel.close()
        self.cluster.down()

    def _manager_pid(self) -> int:
        """The machine's pid of the manager's process."""
        inner = int(self.cluster.manager.status()["children"]["manager"]["pid"])
        for pid in pids_in(self.cluster.manager.pid, ("",)):
            if f"NSpid:\t{pid}\t{inner}\n" in Path(f"/proc/{pid}/status").read_text():
                return pid
        raise RuntimeError(f"no process {inner} on the host")

    def ready(self) -> int:
        """How many agents the manager takes for ready."""
        nodes = self.control.ListNodes(ListRequest(), timeout=CALL_S).nodes
        return sum(node.status.state == NodeStatus.READY for node in nodes) - 1

    def memory_bytes(self) -> int:
        """The manager's."""
        return pss_bytes(self.pid)

    def cpu_s(self) -> float:
        """CPU time that the manager has had."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND

    def share_of_a_core(self, seconds: float) -> float:
        """What the manager takes of one in so many seconds from now, in percent."""
        before, started = self.cpu_s(), time.monotonic()
        time.sleep(seconds)
        return 100 * (self.cpu_s() - before) / (time.monotonic() - started)

    def create(self, name: str, tasks: int) -> str:
        """A service of busybox; its id."""
        spec = ServiceSpec()
        spec.annotations.name = name
        spec.task.container.image = "busybox:latest"
        spec.replicated.replicas = tasks
        return str(self.control.CreateService(CreateServiceRequest(spec=spec), timeout=CALL_S).id)

    def remove(self, service: str, timeout_s: float) -> None:
        """Until no task is left of it."""
        self.control.RemoveService(RemoveRequest(ref=service), timeout=CALL_S)
        self.until(lambda: not self.control.ListServices(ListRequest()).services, timeout_s)

    def running(self, service: str) -> int:
        """How many of its tasks run."""
        answer = self.control.ListServices(ListRequest(), timeout=CALL_S)
        return int(answer.status[service].running_tasks)

    @staticmethod
    def seen_by(manager: Host, service: str) -> int:
        """How many run as another manager knows; none while it does not answer."""
        with grpc.insecure_channel(
            f"unix:{manager.paths.manager_socket}", options=LARGE
        ) as channel:
            try:
                answer = ControlStub(channel).ListServices(ListRequest(), timeout=CALL_S)
            except grpc.RpcError:
                return 0
        return int(answer.status[service].running_tasks)

    @staticmethod
    def until(condition: Callable[[], bool], timeout_s: float) -> float:
        """Seconds until it held."""
        started = time.monotonic()
        while not condition():
            if time.monotonic() - started > timeout_s:
                raise RuntimeError(f"not within {timeout_s} s")
            time.sleep(0.05)
        return time.monotonic() - started
