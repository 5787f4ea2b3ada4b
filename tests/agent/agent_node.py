"""A node for tests: a real supervisor and a real agent in namespaces of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc.aio
from scripted_manager import ScriptedManager, certify

from swarmlite import rpc
from swarmlite.ids import new_id
from swarmlite.manager.ca.root import WORKER, RootCA
from swarmlite.model import task_states
from swarmlite.paths import Paths
from swarmlite.proto.containers_pb2_grpc import ContainersStub
from swarmlite.proto.host_pb2_grpc import HostStub
from swarmlite.proto.images_pb2_grpc import ImagesStub
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.volumes_pb2_grpc import VolumesStub
from swarmlite.runtime.client import State, Supervisor
from swarmlite.testing import cgroup_sweep
from swarmlite.testing.namespaces import Machine, ip_batch

FORWARDER = Path(__file__).with_name("forwarder.py")
MANAGER_PORT = 23770
START_S = 20.0
CGROUP_ROOT = "/swarmlite-agent-tests"


class EngineStubs:
    """The services of one host's engine."""

    def __init__(self, channel: Any) -> None:
        self.containers: Any = ContainersStub(channel)
        self.images: Any = ImagesStub(channel)
        self.volumes: Any = VolumesStub(channel)
        self.host: Any = HostStub(channel)


class AgentNode:
    """Everything of one node; `close` leaves nothing behind."""

    def __init__(self, root: Path, images: Path | None, image: str) -> None:
        self.image = image
        self.node_id = new_id()
        self.paths = Paths(root / "state", root / "run")
        self.cgroup_parent = f"{CGROUP_ROOT}/{self.node_id[:8]}"
        self.ca = RootCA.create()
        self.manager = ScriptedManager(self.ca, self.node_id, root / "manager")
        self._root = root
        self._images = images
        self._machine: Machine | None = None
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._channel: grpc.aio.Channel | None = None

    # power
    async def start(self, *, in_swarm: bool = True) -> None:
        for folder in (self.paths.state_dir, self.paths.run_dir):
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        if self._images is not None:
            shutil.copytree(self._images, self.paths.images_dir, symlinks=True)
        self._machine = Machine(f"agent-{self.node_id[:6]}")
        # A bridge stands for the host's network card: this kernel has no dummy devices.
        ip_batch(
            self._machine.pid,
            [
                "link set lo up",
                "link add eth0 type bridge",
                "addr add 10.250.0.2/24 dev eth0",
                "link set eth0 up",
                "route add default via 10.250.0.1",
            ],
        )
        if in_swarm:
            self.join()
            await self.manager.start(f"unix:{self._root}/manager.sock")
            self.start_forwarder()
        self.start_supervisor()
        await self.start_agent()

    def join(self) -> None:
        certify(self.ca, self.paths.certificates_dir, self.node_id, WORKER)
        node = {
            "node_id": self.node_id,
            "cluster_id": "cluster",
            "role": "worker",
            "advertise_addr": "10.250.0.2:2377",
            "data_path_addr": "10.250.0.2",
            "data_path_port": 4789,
            "managers": [f"127.0.0.1:{MANAGER_PORT}"],
        }
        self.paths.node_file.write_text(json.dumps(node))

    def start_forwarder(self) -> None:
        self._spawn(
            "forwarder",
            str(FORWARDER),
            "127.0.0.1",
            str(MANAGER_PORT),
            f"{self._root}/manager.sock",
        )

    def start_supervisor(self) -> None:
        import swarmlite.runtime.supervisor as room

        main = Path(room.__file__).with_name("__main__.py")
        self._spawn("supervisor", "-I", "-S", str(main), *self.supervisor_options())

    def supervisor_options(self) -> list[str]:
        return [
            "--socket",
            str(self.paths.supervisor_socket),
            "--state-dir",
            str(self.paths.state_dir / "supervisor"),
        ]

    async def start_agent(self) -> None:
        self._spawn(
            "agent",
            "-m",
            "swarmlite.agent",
            "--state-dir",
            str(self.paths.state_dir),
            "--run-dir",
            str(self.paths.run_dir),
            "--cgroup-parent",
            self.cgroup_parent,
        )
        deadline = time.monotonic() + START_S
        while True:
            if self._processes["agent"].poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the agent did not start:\n{self.log('agent')}")
            with contextlib.suppress(grpc.aio.AioRpcError):
                from swarmlite.proto.control_pb2 import Empty

                await self.engine.host.Info(Empty(), timeout=2)
                return
            await asyncio.sleep(0.05)

    def _spawn(self, name: str, *arguments: str) -> None:
        assert self._machine is not None
        with (self._root / f"{name}.log").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                self._machine.enter([sys.executable, *arguments]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def init(self) -> int:
        """The first process of its namespaces."""
        assert self._machine is not None
        return self._machine.pid

    def pid(self, name: str) -> int:
        """The process as this machine sees it: nsenter's child."""
        parent = self._processes[name].pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(children[0])

    def send_signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.pid(name), number)
        if number == signal.SIGCONT:  # nsenter stops with its child
            self._processes[name].send_signal(number)

    def end(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill a process and wait for its end."""
        self.send_signal(name, number)
        self._processes[name].wait(15)

    async def hang_up(self) -> None:
        """Let go of what belongs to the running event loop; the node goes on."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def runs(self) -> bool:
        """Whether all of its processes do."""
        return all(process.poll() is None for process in self._processes.values())

    async def close(self) -> None:
        await self.hang_up()
        await self.manager.stop()
        with contextlib.suppress(Exception):
            supervisor = await Supervisor.connect(self.paths.supervisor_socket)
            async with asyncio.timeout(10):
                await supervisor.shutdown()
            await supervisor.close()
        if self._machine is not None:
            self._machine.kill()
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.wait(15)
        cgroup_sweep.remove(self.cgroup_parent)
        cgroup_sweep.remove_empty(CGROUP_ROOT)

    def log(self, name: str = "agent") -> str:
        path = self._root / f"{name}.log"
        return path.read_text()[-6000:] if path.exists() else ""

    # looking and doing
    @property
    def engine(self) -> EngineStubs:
        if self._channel is None:
            self._channel = rpc.unix_channel(self.paths.agent_socket)
        return EngineStubs(self._channel)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        assert self._machine is not None
        return subprocess.run(
            self._machine.enter(command), capture_output=True, text=True, check=check, timeout=30
        )

    async def containers(self) -> list[State]:
        supervisor = await Supervisor.connect(self.paths.supervisor_socket)
        try:
            return await supervisor.list()
        finally:
            await supervisor.close()

    async def container(self, task_id: str) -> State:
        from swarmlite.agent.workload import container_id_of

        wanted = container_id_of(task_id)
        return next(state for state in await self.containers() if state.id == wanted)

    def task(self, *args: str, command: tuple[str, ...] = ("sh", "-c"), **fields: Any) -> Task:
        """A task of this node that is to run `command` with `args`."""
        task = Task(
            id=new_id(),
            node_id=self.node_id,
            service_id="service1",
            slot=1,
            service_annotations={"name": "web"},
            desired_state=task_states.RUNNING,
            **fields,
        )
        task.status.state = task_states.ASSIGNED
        task.spec.container.image = self.image
        task.spec.container.command.extend(command)
        task.spec.container.args.extend(args)
        task.spec.container.stop_grace_period.FromSeconds(2)
        return task

    async def exec(self, task_id: str, *command: str) -> tuple[int, str]:
        from swarmlite.agent.workload import container_id_of
        from swarmlite.proto.containers_pb2 import ExecConfig, ExecInput

        async def inputs() -> Any:
            start = ExecConfig(container=container_id_of(task_id), command=command)
            yield ExecInput(config=start)
            yield ExecInput(stdin_close=True)

        output, code = b"", -1
        async for message in self.engine.containers.Exec(inputs(), timeout=20):
            output += message.data
            if message.HasField("exit_code"):
                code = message.exit_code
        return code, output.decode()

    def output(self, task_id: str) -> str:
        """What the task's container has written."""
        from swarmlite.agent.workload import container_id_of
        from swarmlite.engine.io.log_drivers import log_path

        path = log_path(self.paths.containers_dir / container_id_of(task_id))
        if not path.exists():
            return ""
        return "".join(json.loads(line)["log"] for line in path.read_text().splitlines())
