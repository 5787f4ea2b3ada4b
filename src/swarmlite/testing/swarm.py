"""A swarm on hosts of whatever kind: formed, asked, waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from swarmlite import rpc
from swarmlite.model import task_states
from swarmlite.paths import Paths
from swarmlite.proto.control_pb2 import Filter, ListRequest, ListTasksRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.types_pb2 import NodeStatus

from .host import CommandFailed

T = TypeVar("T")
API_TIMEOUT_S = 10.0


class SwarmHost(Protocol):
    """What of a host a swarm needs."""

    name: str

    @property
    def addr(self) -> str:
        """The address that the other hosts reach it by."""

    @property
    def paths(self) -> Paths:
        """Whose sockets answer on this machine."""

    def cli(self, *args: str) -> str:
        """`swarmlite ARGS...` there; its standard output. Raises CommandFailed."""


H = TypeVar("H", bound=SwarmHost)


class Swarm(Generic[H]):
    """`hosts`, `managers` and `workers` are the hosts by role; `manager` is the first."""

    def __init__(self, init_options: Sequence[str] = ()) -> None:
        """Without hosts yet; `init_options` are of `swarm init`."""
        self.managers: list[H] = []
        self.workers: list[H] = []
        self._init_options = list(init_options)

    @property
    def hosts(self) -> list[H]:
        """Every host, managers first."""
        return self.managers + self.workers

    @property
    def manager(self) -> H:
        """The first manager."""
        return self.managers[0]

    def host(self, name: str) -> H:
        """The host of this name. Raises KeyError."""
        return {host.name: host for host in self.hosts}[name]

    # forming
    def form_swarm(self) -> None:
        """Init on the first host, join the others, wait until all are Ready."""
        first = self.manager
        first.cli("swarm", "init", "--advertise-addr", first.addr, *self._init_options)
        for host in self.managers[1:]:  # one after the other: etcd takes one new member at a time
            self.join(host)
        if self.workers:
            token = self._token("worker")
            with ThreadPoolExecutor(len(self.workers)) as pool:
                list(pool.map(lambda host: self._join(host, token), self.workers))
        self.wait(self._all_ready, 60, "every node to be Ready")

    def join(self, host: H) -> None:
        """Join a host with the token of its role."""
        self._join(host, self._token("manager" if host in self.managers else "worker"))

    def _join(self, host: H, token: str) -> None:
        options = ["--token", token, "--advertise-addr", host.addr]
        host.cli("swarm", "join", *options, f"{self.manager.addr}:2377")

    def _token(self, role: str) -> str:
        return self.manager.cli("swarm", "join-token", "-q", role).strip()

    def _all_ready(self) -> bool:
        return {f"{host.name} Ready" for host in self.hosts} <= self._states()

    def _states(self) -> set[str]:
        return {
            f"{node.description.hostname} {NodeStatus.State.Name(node.status.state).capitalize()}"
            for node in self.ask("ListNodes", ListRequest()).nodes
        }

    # asking
    @contextmanager
    def control(self) -> Iterator[ControlStub]:
        """The first manager's API, for what a command line would be slow to ask."""
        with grpc.insecure_channel(f"unix:{self.manager.paths.manager_socket}") as channel:
            yield ControlStub(channel)

    def ask(self, method: str, request: Message) -> Any:
        """One call of the first manager's API. Raises CommandFailed."""
        # A channel a call: whether the host was killed and booted meanwhile is no question then.
        with self.control() as control:
            try:
                return getattr(control, method)(request, timeout=API_TIMEOUT_S)
            except grpc.RpcError as error:
                assert isinstance(error, grpc.Call)
                meant = rpc.translate(error, "the manager")
                raise CommandFailed(f"{self.manager.name}: {method}: {meant}") from error

    # waits
    def wait(
        self, condition: Callable[[], T], timeout_s: float, what: str, every_s: float = 0.1
    ) -> T:
        """The first true result of `condition`. When time is up, CommandFailed names `what`."""
        deadline = time.monotonic() + timeout_s
        last: BaseException | None = None
        while True:
            try:
                if result := condition():
                    return result
                last = None
            except (CommandFailed, OSError) as error:
                last = error
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"waited {timeout_s} s for {what}" + (f": {last}" if last else "")
                ) from last
            time.sleep(every_s)

    def running(self, service: str) -> list[str]:
        """The hosts of a service's running tasks, one entry a task."""
        of_service = ListTasksRequest(filters=[Filter(key="service", values=[service])])
        tasks = self.ask("ListTasks", of_service).tasks
        nodes = self.ask("ListNodes", ListRequest()).nodes
        names = {node.id: node.description.hostname for node in nodes}
        return [
            names.get(task.node_id, task.node_id)
            for task in tasks
            if task.desired_state == task.status.state == task_states.RUNNING
        ]

    def wait_running(self, service: str, count: int, timeout_s: float = 60.0) -> list[str]:
        """Wait until exactly `count` tasks of a service run; the hosts they run on."""

        def reached() -> list[str] | None:
            hosts = self.running(service)
            return hosts if len(hosts) == count else None

        found = self.wait(reached, timeout_s, f"{count} running tasks of {service}")
        assert found is not None
        return found
