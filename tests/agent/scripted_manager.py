"""A real gRPC server with mutual TLS that serves Dispatcher and CA as a test says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from swarmlite import rpc
from swarmlite.ids import new_id
from swarmlite.manager.ca.root import MANAGER, WORKER, RootCA, Subject, new_request
from swarmlite.proto.ca_pb2 import IssueNodeCertificateResponse
from swarmlite.proto.ca_pb2_grpc import CAServicer, add_CAServicer_to_server
from swarmlite.proto.control_pb2 import Empty
from swarmlite.proto.dispatcher_pb2 import (
    AgentMessage,
    AssignmentChange,
    Assignments,
    AttachContainerResponse,
    LogChunk,
    ManagerMessage,
    ManagerPeer,
    SessionInfo,
    VirtualService,
)
from swarmlite.proto.dispatcher_pb2_grpc import (
    DispatcherServicer,
    add_DispatcherServicer_to_server,
)
from swarmlite.proto.objects_pb2 import Config, Network, Node, Secret, Task
from swarmlite.proto.types_pb2 import NetworkAttachment, TaskState, TaskStatus

DEADLINE_S = 20.0


def certify(root: RootCA, folder: Path, node_id: str, role: str) -> Path:
    """A folder as a node's `certificates`, signed by `root`."""
    folder.mkdir(parents=True, exist_ok=True)
    key, csr = new_request()
    (folder / "ca.crt").write_bytes(root.cert)
    (folder / "node.key").write_bytes(key)
    (folder / "node.crt").write_bytes(root.issue(csr, Subject(node_id, role, "cluster")))
    return folder


class ScriptedManager(DispatcherServicer, CAServicer):
    """What the agent meets; tests read what it said and say what it gets."""

    def __init__(self, root: RootCA, node_id: str, folder: Path) -> None:
        self.root = root
        self.node_id = node_id
        self.folder = certify(root, folder, "manager-1", MANAGER)
        self.period_s = 5.0
        self.managers: list[str] = []
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.hellos: list[Any] = []
        self.messages: list[AgentMessage] = []
        self.history: dict[str, list[TaskStatus]] = {}
        self.log_chunks: list[LogChunk] = []
        self.renewals = 0
        self.attachable: dict[str, Network] = {}
        self.attached: set[tuple[str, str]] = set()
        self.items: dict[tuple[str, str], Any] = {}
        self._sequence = itertools.count(1)
        self._at = ""
        self._down: asyncio.Queue[ManagerMessage | None] | None = None
        self._changed = asyncio.Condition()
        self._server: grpc.aio.Server | None = None
        self.address = ""

    # power
    async def start(self, address: str = "127.0.0.1:0") -> str:
        """Serve on "HOST:PORT" or "unix:PATH"; the address."""
        self._server = grpc.aio.server(options=rpc.SERVER_OPTIONS)
        add_DispatcherServicer_to_server(self, self._server)
        add_CAServicer_to_server(self, self._server)
        credentials = grpc.ssl_server_credentials(
            [((self.folder / "node.key").read_bytes(), (self.folder / "node.crt").read_bytes())],
            root_certificates=(self.folder / "ca.crt").read_bytes(),
            require_client_auth=True,
        )
        port = self._server.add_secure_port(address, credentials)
        await self._server.start()
        self.address = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        return self.address

    async def stop(self) -> None:
        """Go away; sessions break."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    # Dispatcher
    async def Session(
        self, request: AsyncIterator[AgentMessage], context: Any
    ) -> AsyncIterator[ManagerMessage]:
        first = await anext(request)
        if self.refusal is not None:
            await context.abort(*self.refusal)
        self.hellos.append(first.hello)
        queue = self._down = asyncio.Queue[ManagerMessage | None]()
        reader = asyncio.ensure_future(self._read(request))
        try:
            yield ManagerMessage(session=self._session_info())
            yield ManagerMessage(assignments=self._complete())
            await self._notify()
            while (message := await queue.get()) is not None:
                yield message
        finally:
            reader.cancel()
            if self._down is queue:
                self._down = None
            await self._notify()

    async def AttachContainer(self, request: Any, context: Any) -> AttachContainerResponse:
        network = self.attachable.get(request.network)
        if network is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"network {request.network} not found")
        assert network is not None
        self.attached.add((network.id, request.container_id))
        name = network.spec.annotations.name
        place = NetworkAttachment(
            network_id=network.id, network_name=name, addresses=["10.9.0.7/24"]
        )
        return AttachContainerResponse(attachment=place, network=network)

    async def DetachContainer(self, request: Any, context: Any) -> Empty:
        self.attached = {held for held in self.attached if held[1] != request.container_id}
        await self._notify()
        return Empty()

    async def _read(self, request: AsyncIterator[AgentMessage]) -> None:
        async for message in request:
            self.messages.append(message)
            self.log_chunks.extend(message.logs)
            for update in message.statuses:
                self.history.setdefault(update.task_id, []).append(update.status)
                if ("task", update.task_id) in self.items:
                    self.items["task", update.task_id].status.CopyFrom(update.status)
            await self._notify()

    def _session_info(self) -> SessionInfo:
        return SessionInfo(
            session_id=new_id(),
            heartbeat_period=Duration(
                nanos=int(self.period_s % 1 * 1e9), seconds=int(self.period_s)
            ),
            managers=[ManagerPeer(node_id="m", addr=addr) for addr in self.managers],
            node=Node(id=self.node_id, description={"hostname": "scripted"}),
        )

    def _complete(self) -> Assignments:
        order = {"secret": 0, "config": 0, "network": 0, "endpoint": 1, "virtual_service": 1}
        ordered = sorted(self.items.items(), key=lambda entry: order.get(entry[0][0], 2))
        changes = [AssignmentChange(**{kind: item}) for (kind, _), item in ordered]
        return self._numbered(Assignments.COMPLETE, changes)

    def _numbered(self, kind: Any, changes: list[AssignmentChange]) -> Assignments:
        before, self._at = self._at, str(next(self._sequence))
        return Assignments(type=kind, applies_to=before, results_in=self._at, changes=changes)

    # CA
    async def IssueNodeCertificate(self, request: Any, context: Any) -> Any:
        self.renewals += 1
        subject = Subject(self.node_id, WORKER, "cluster")
        return IssueNodeCertificateResponse(
            node_id=self.node_id, certificate=self.root.issue(request.csr, subject)
        )

    # what tests do
    def end_session(self) -> None:
        """Close the stream, as a manager that ends well."""
        assert self._down is not None
        self._down.put_nowait(None)

    def send(self, message: ManagerMessage) -> None:
        assert self._down is not None, "no session"
        self._down.put_nowait(message)

    def assign(self, *items: Secret | Config | Task | Any) -> None:
        """Give the node these; sent at once when there is a session."""
        names = {"Task": "task", "Secret": "secret", "Config": "config", "Network": "network"}
        names |= {"Endpoint": "endpoint", "VirtualService": "virtual_service"}
        changes = []
        for item in items:
            kind = names[type(item).__name__]
            self.items[kind, item.id] = item
            changes.append(AssignmentChange(**{kind: item}))
        if self._down is not None:
            self.send(ManagerMessage(assignments=self._numbered(Assignments.INCREMENTAL, changes)))

    def desire(self, task_id: str, state: TaskState.ValueType) -> None:
        task = self.items["task", task_id]
        task.desired_state = state
        self.assign(task)

    def withdraw(self, task_id: str, *, tell: bool = True) -> None:
        """Take a task away; without `tell` the next COMPLETE just lacks it."""
        del self.items["task", task_id]
        if tell:
            change = AssignmentChange(action=AssignmentChange.REMOVE, task=Task(id=task_id))
            message = self._numbered(Assignments.INCREMENTAL, [change])
            self.send(ManagerMessage(assignments=message))

    def remove_service(self, service: VirtualService) -> None:
        del self.items["virtual_service", service.id]
        change = AssignmentChange(action=AssignmentChange.REMOVE, virtual_service=service)
        message = self._numbered(Assignments.INCREMENTAL, [change])
        self.send(ManagerMessage(assignments=message))

    async def until(self, predicate: Callable[[], Any], what: str = "") -> Any:
        """Wait until `predicate` holds; its value. Fails with what was heard so far."""
        try:
            async with asyncio.timeout(DEADLINE_S), self._changed:
                while not (value := predicate()):
                    await self._changed.wait()
                return value
        except TimeoutError:
            raise AssertionError(f"never: {what}; heard {self.summary()}") from None

    async def status(self, task_id: str, state: TaskState.ValueType) -> TaskStatus:
        """The first status of a task at or above `state`."""

        def find() -> TaskStatus | None:
            heard = self.history.get(task_id, [])
            return next((status for status in heard if status.state >= state), None)

        status: TaskStatus = await self.until(find, f"{task_id} {TaskState.Name(state)}")
        return status

    async def session(self, count: int = 1) -> None:
        """Until there were `count` sessions."""
        await self.until(lambda: len(self.hellos) >= count and self._down, f"{count} sessions")

    def summary(self) -> dict[str, list[str]]:
        return {
            task_id: [f"{TaskState.Name(s.state)} {s.err}".strip() for s in heard]
            for task_id, heard in self.history.items()
        }

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
