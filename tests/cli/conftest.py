"""A manager's real API over a store in memory, on a unix socket, and the CLI run against it.

The manager lives on a thread of its own; `tasks_run` plays orchestrator and agents.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from swarmlite.cli import app
from swarmlite.ids import new_id
from swarmlite.manager.controlapi import ControlService
from swarmlite.manager.server import serving
from swarmlite.manager.store.api import Delete, Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.model import dirty, task_states
from swarmlite.model.timestamps import set_now
from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT, LogMessage, LogsResponse
from swarmlite.proto.control_pb2_grpc import add_ControlServicer_to_server
from swarmlite.proto.objects_pb2 import Cluster, Network, Node, Service, Task
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import MANAGER, ManagerStatus, NodeStatus


class Lines:
    """The lines of every task: one of each stream."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def logs(self, request: Any) -> Any:
        for task in self._store.view.tasks:
            if task.service_id in request.selector.service_ids:
                for stream, text in ((LOG_STDOUT, b"out\n"), (LOG_STDERR, b"err\n")):
                    message = LogMessage(stream=stream, data=text)
                    message.context.task_id = task.id
                    message.context.node_id = task.node_id
                    yield LogsResponse(messages=[message])


class World(threading.Thread):
    """The manager's thread."""

    def __init__(self, socket_path: Path) -> None:
        super().__init__(daemon=True)
        self.socket_path = socket_path
        self.node_id = new_id()
        self.ready = threading.Event()
        self.error = ""
        """What tasks fail with, in place of running."""
        self.running = False

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        self.store = MemoryStore()
        cluster = Cluster(id=new_id())
        cluster.spec.annotations.name = "default"
        cluster.root_ca.join_tokens.worker = "SWMTKN-1-w"
        cluster.root_ca.join_tokens.manager = "SWMTKN-1-m"
        self.store.commit_now([Put(cluster), Put(self._node(self.node_id, "alpha", True))])
        self.store.commit_now([Put(self._node(new_id(), "beta", False))])
        ingress = Network(id=new_id())
        ingress.spec.annotations.name = "ingress"
        ingress.spec.ingress = True
        self.store.commit_now([Put(ingress)])
        self.lines = Lines(self.store)
        control = ControlService(self.store, self.node_id, self.lines)
        async with serving(
            [lambda server: add_ControlServicer_to_server(control, server)],
            lambda: self.store.view,
            socket_path=self.socket_path,
            listen_addr=None,
            certificates_dir=self.socket_path.parent,
        ):
            self.ready.set()
            while not self.stopping.is_set():
                self._step()
                await asyncio.sleep(0.05)

    @staticmethod
    def _node(node_id: str, name: str, manager: bool) -> Node:
        node = Node(id=node_id)
        node.description.hostname = name
        node.description.engine.engine_version = "0.1.0"
        node.status.state = NodeStatus.READY
        node.spec.membership = NodeSpec.ACCEPTED
        if manager:
            node.role = node.spec.desired_role = MANAGER
            node.manager_status.leader = True
            node.manager_status.addr = "192.0.2.1:2377"
            node.manager_status.reachability = ManagerStatus.REACHABLE
        return node

    def _step(self) -> None:
        view = self.store.view
        changes: list[Any] = []
        for task in list(view.tasks):
            service = view.services.get(task.service_id)
            if service is None or dirty.is_task_dirty(service, task):
                changes.append(Delete(task))
        for service in list(view.services) if self.running else []:
            tasks = view.tasks.of_service(service.id).values()
            have = {t.slot for t in tasks if not dirty.is_task_dirty(service, t)}
            for slot in range(1, service.spec.replicated.replicas + 1):
                if slot not in have:
                    changes.append(Put(self._task(service, slot)))
        if changes:
            self.store.commit_now(changes)

    def _task(self, service: Service, slot: int) -> Task:
        task = Task(id=new_id(), service_id=service.id, slot=slot, node_id=self.node_id)
        task.spec.CopyFrom(service.spec.task)
        task.spec_version.CopyFrom(service.spec_version)
        task.service_annotations.CopyFrom(service.spec.annotations)
        task.endpoint.spec.CopyFrom(service.spec.endpoint)
        task.desired_state = task_states.RUNNING
        task.status.state = task_states.PENDING if self.error else task_states.RUNNING
        task.status.err = self.error
        set_now(task.status.timestamp)
        return task

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.join(10)


@dataclass
class Result:
    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line: status, standard output, standard error."""
    monkeypatch.setenv("SWARMLITE_RUN_DIR", "/nonexistent/run")
    monkeypatch.setenv("SWARMLITE_STATE_DIR", "/nonexistent/state")

    def call(*args: str) -> Result:
        capfd.readouterr()
        status = app.run(args)
        captured = capfd.readouterr()
        return Result(status, captured.out, captured.err)

    return call


@pytest.fixture
def world(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A manager that answers; `run` talks to it."""
    with tempfile.TemporaryDirectory(prefix="swarmlite-cli-") as folder:
        made = World(Path(folder) / "manager.sock")
        made.start()
        assert made.ready.wait(10)
        node = {"node_id": made.node_id, "role": "manager"}
        (Path(folder) / "node.json").write_text(json.dumps(node))
        monkeypatch.setenv("SWARMLITE_RUN_DIR", folder)
        monkeypatch.setenv("SWARMLITE_STATE_DIR", folder)
        yield made
        made.stop()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A host with a real engine, in no swarm, and busybox on it: see container_host.py."""
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces and mounts")
    from container_host import Host

    from swarmlite.storage.images.store import ImageStore
    from swarmlite.testing import images
    from swarmlite.testing.registry import Registry

    folder = tmp_path_factory.mktemp("cli-images") / "images"
    with Registry() as registry:
        ref = registry.push(images.busybox())
        image = asyncio.run(ImageStore(folder).pull(ref))
    made = Host(tmp_path_factory.mktemp("cli-host"), folder, image.repo_tags[0])
    made.boot()
    try:
        yield made
    finally:
        made.stop()


_NEWNET = 0x40000000


@pytest.fixture(scope="module")
def registry(host: Any) -> Iterator[Any]:
    """On the host's own loopback, with a login; a thread of it lives there as long."""

    from concurrent.futures import ThreadPoolExecutor

    from swarmlite.kernel.namespaces import setns
    from swarmlite.testing.registry import Registry

    def enter() -> None:
        fd = os.open(f"/proc/{host.init}/ns/net", os.O_RDONLY)
        try:
            setns(fd, _NEWNET)
        finally:
            os.close(fd)

    with ThreadPoolExecutor(1, initializer=enter) as inside:
        running = Registry(users={"me": "secret"})
        inside.submit(running.__enter__).result()
        try:
            yield running
        finally:
            inside.submit(running.__exit__, None, None, None).result()
