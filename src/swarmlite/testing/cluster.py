"""A cluster of hosts on one machine, with its faults."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from swarmlite import rpc
from swarmlite.model import task_states
from swarmlite.proto.control_pb2 import Filter, ListRequest, ListTasksRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.types_pb2 import NodeStatus
from swarmlite.storage import trees

from . import cgroup_sweep, diagnostics, leftovers
from .host import CommandFailed, Host
from .namespaces import Lan

T = TypeVar("T")
NFT_FAMILY = "bridge"
API_TIMEOUT_S = 10.0


class Cluster:
    """Hosts with a swarm on them: `with Cluster(managers=1, workers=2) as cluster: ...`.

    `hosts`, `managers` and `workers` are the hosts by role; `manager` is the first. On leaving
    through an exception, what a person would ask first is collected into `diagnostics_dir`.
    """

    def __init__(
        self,
        managers: int = 1,
        workers: int = 2,
        *,
        name: str | None = None,
        swarm: bool = True,
        init_options: Sequence[str] = (),
        daemon_options: Sequence[str] = (),
        outlive: bool = False,
        root: Path | None = None,
    ) -> None:
        """Nothing is made before `up`. `swarm=False` leaves the hosts without a swarm."""
        self.name = name or f"t{os.getpid()}"
        self.swarm = swarm
        self.cgroup_parent = f"/swarmlite-{self.name}"
        self.diagnostics_dir = Path(tempfile.gettempdir()) / f"swarmlite-diagnostics-{self.name}"
        self._counts = (managers, workers)
        self._init_options = list(init_options)
        self._daemon_options = list(daemon_options)
        self._outlive = outlive
        self._root = root
        self.root = Path()
        self.lan: Lan | None = None
        self.managers: list[Host] = []
        self.workers: list[Host] = []

    @property
    def hosts(self) -> list[Host]:
        """Every host, managers first."""
        return self.managers + self.workers

    @property
    def manager(self) -> Host:
        """The first manager."""
        return self.managers[0]

    def host(self, name: str) -> Host:
        """The host of this name. Raises KeyError."""
        return {host.name: host for host in self.hosts}[name]

    # life
    def up(self) -> Cluster:
        """Boot every host and join them to one swarm. On failure nothing stays behind."""
        try:
            self._boot()
            if self.swarm:
                self.form_swarm()
        except BaseException:
            self.collect()
            self.down()
            raise
        return self

    def _boot(self) -> None:
        leftovers.sweep()
        self.root = self._root or Path(tempfile.mkdtemp(prefix=f"{leftovers.PREFIX}{self.name}-"))
        if self._root is None:
            leftovers.claim(self.root, self.cgroup_parent)
        self.lan = Lan(self.name, outlive=self._outlive)
        managers, workers = self._counts
        for number in range(managers + workers):
            role, index = (
                ("manager", number + 1) if number < managers else ("worker", number - managers + 1)
            )
            host = Host(
                f"{role}{index}",
                self.lan,
                self.root,
                self.cgroup_parent,
                daemon_options=self._daemon_options,
                outlive=self._outlive,
            )
            (self.managers if role == "manager" else self.workers).append(host)
            host.boot(wait=False)  # all at once: no host waits for another here
        for host in self.hosts:
            host.wait_daemon()

    def form_swarm(self) -> None:
        """Init on the first host, join the others, wait until all are Ready."""
        first = self.manager
        first.cli("swarm", "init", "--advertise-addr", first.addr, *self._init_options)
        for host in self.managers[1:]:  # one after the other: etcd takes one new member at a time
            self.join(host)
        token = self._token("worker") if self.workers else ""
        joining = [(host, host.popen(*self._join_command(host, token))) for host in self.workers]
        failed = ""
        for host, command in joining:
            said, _ = command.communicate()
            if command.returncode:
                failed += f"{host.name}$ swarm join: exit {command.returncode}\n{said}"
        if failed:
            raise CommandFailed(failed)
        self.wait(self._all_ready, 30, "every node to be Ready")

    def join(self, host: Host) -> None:
        """Join a host with the token of its role."""
        role = "manager" if host in self.managers else "worker"
        host.run(*self._join_command(host, self._token(role)))

    def add(self, role: str) -> Host:
        """One more host, "manager" or "worker", booted, joined and Ready."""
        assert self.lan is not None
        of_role = self.managers if role == "manager" else self.workers
        taken = {host.name for host in self.hosts}
        number = next(n for n in range(1, len(taken) + 2) if f"{role}{n}" not in taken)
        host = Host(
            f"{role}{number}",
            self.lan,
            self.root,
            self.cgroup_parent,
            daemon_options=self._daemon_options,
            outlive=self._outlive,
        )
        host.boot()
        of_role.append(host)
        self.join(host)
        self.wait(lambda: f"{host.name} Ready" in self._states(), 30, f"{host.name} to be Ready")
        return host

    def _token(self, role: str) -> str:
        return self.manager.cli("swarm", "join-token", "-q", role).strip()

    def _join_command(self, host: Host, token: str) -> list[str]:
        swarmlite = [sys.executable, "-m", "swarmlite.cli"]
        options = ["--token", token, "--advertise-addr", host.addr]
        return [*swarmlite, "swarm", "join", *options, f"{self.manager.addr}:2377"]

    def _all_ready(self) -> bool:
        return {f"{host.name} Ready" for host in self.hosts} <= self._states()

    def _states(self) -> set[str]:
        return {
            f"{node.description.hostname} {NodeStatus.State.Name(node.status.state).capitalize()}"
            for node in self.ask("ListNodes", ListRequest()).nodes
        }

    def down(self) -> None:
        """Kill every host and remove all that was made. Safe to repeat."""
        for host in self.hosts:
            host.kill()
        if self.lan is not None:
            self.lan.close()
            self.lan = None
        cgroup_sweep.remove(self.cgroup_parent)
        if self._root is None and self.root != Path():
            trees.sweep(self.root)
        self.managers, self.workers = [], []

    def __enter__(self) -> Cluster:
        return self.up()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.collect()
        self.down()

    # faults
    def cut(self, a: Host, b: Host, *, one_way: bool = False) -> None:
        """Drop what `a` sends to `b`, and, unless `one_way`, the reverse."""
        self._drop(a, b, "drop")
        if not one_way:
            self._drop(b, a, "drop")

    def lose(self, a: Host, b: Host, percent: int) -> None:
        """Lose this share of the packets between `a` and `b`, both ways."""
        for source, target in ((a, b), (b, a)):
            self._drop(source, target, f"numgen random mod 100 < {percent} drop")

    def heal(self) -> None:
        """Undo every cut and loss."""
        self._nft("delete table bridge faults", check=False)

    def isolate(self, host: Host) -> None:
        """Cut a host from all the others."""
        for other in self.hosts:
            if other is not host:
                self.cut(host, other)

    def _drop(self, source: Host, target: Host, verdict: str) -> None:
        # ARP too: a host that was cut off must not look alive to its neighbours.
        self._nft(
            "add table bridge faults\n"
            "add chain bridge faults forward { type filter hook forward priority 0; }\n"
            f"add rule bridge faults forward"
            f" ip saddr {source.addr} ip daddr {target.addr} {verdict}\n"
            f"add rule bridge faults forward"
            f" arp saddr ip {source.addr} arp daddr ip {target.addr} {verdict}\n"
        )

    def _nft(self, script: str, *, check: bool = True) -> None:
        assert self.lan is not None
        done = subprocess.run(
            self.lan.machine.enter(["nft", "-f", "-"]), input=script, capture_output=True, text=True
        )
        if check and done.returncode:
            raise RuntimeError(f"nft: {done.stderr.strip()}")

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

    def wait_running(self, service: str, count: int, timeout_s: float = 30.0) -> list[str]:
        """Wait until exactly `count` tasks of a service run; the hosts they run on."""

        def reached() -> list[str] | None:
            hosts = self.running(service)
            return hosts if len(hosts) == count else None

        found = self.wait(reached, timeout_s, f"{count} running tasks of {service}")
        assert found is not None
        return found

    def collect(self) -> Path:
        """Write tasks, logs, nft, routes and forwarding tables to `diagnostics_dir`."""
        diagnostics.collect(self.hosts, self.diagnostics_dir)
        return self.diagnostics_dir
