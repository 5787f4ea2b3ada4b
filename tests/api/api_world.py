"""A manager's API over a store in memory, served for real on a unix socket, and scripted agents."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from swarmlite import rpc
from swarmlite.errors import SwarmliteError
from swarmlite.identity.certificates import Certificates
from swarmlite.ids import new_id
from swarmlite.manager import auth
from swarmlite.manager.controlapi import ControlService
from swarmlite.manager.dispatcher import Dispatcher, DispatcherService
from swarmlite.manager.dispatcher.carrying import Carrying
from swarmlite.manager.logbroker import LogBroker
from swarmlite.manager.logforward import Forward
from swarmlite.manager.server import serving
from swarmlite.manager.store.api import Object, Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.manager.tunnels import Tunnels
from swarmlite.model import task_states
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto import options_pb2
from swarmlite.proto.control_pb2_grpc import ControlStub, add_ControlServicer_to_server
from swarmlite.proto.dispatcher_pb2 import (
    AgentMessage,
    HeldAttachment,
    Hello,
    ManagerMessage,
    TaskStatusUpdate,
)
from swarmlite.proto.dispatcher_pb2_grpc import DispatcherStub, add_DispatcherServicer_to_server
from swarmlite.proto.objects_pb2 import Cluster, Network, Node, Service, Task
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import MANAGER, NodeStatus


def node_of_metadata(context: Any) -> auth.Caller:
    """The test's stand-in for a certificate: which node calls is in the metadata."""
    metadata = dict(context.invocation_metadata())
    return auth.Caller(options_pb2.ROLE_WORKER, metadata["node"], "cluster", None, "192.0.2.7")


class Manager:
    """The three services of a manager, wired as the real process does."""

    def __init__(
        self,
        store: MemoryStore | None = None,
        node_id: str = "",
        forward: Forward | None = None,
        **options: Any,
    ) -> None:
        self.store = store or MemoryStore()
        self.node_id = node_id or new_id()
        self.dispatcher = Dispatcher(self.store, self.node_id, **options)
        self.broker = LogBroker(self.store, self.dispatcher.sessions, self.node_id, forward)
        self.dispatcher.logs = self.broker
        self.reach()

    def reach(self, channel: Callable[[str], grpc.aio.Channel] | None = None) -> None:
        """Join clients to tasks; `channel` leads to another manager."""
        tunnels = Tunnels(self.store, self.dispatcher.sessions, self.node_id, channel)
        self.dispatcher.tunnels = tunnels
        self.control = ControlService(
            self.store,
            self.node_id,
            self.broker,
            tunnels=tunnels,
            channel=channel,
            checks=self.dispatcher.checks,
        )

    def carry(
        self,
        certificates: Certificates,
        channel: Callable[[str], grpc.aio.Channel] | None = None,
    ) -> None:
        """Know of images, and sign tickets with these; `channel` leads to another manager."""
        carrying = Carrying(self.store, self.dispatcher.sessions, certificates)
        self.dispatcher.carrying = carrying
        self.control.__init__(  # type: ignore[misc]  # as the process makes it
            self.store, self.node_id, self.broker, carrier=carrying, channel=channel
        )

    def register(self, server: Any) -> None:
        add_ControlServicer_to_server(self.control, server)

    def put(self, *objects: Object) -> None:
        for obj in objects:
            stored = self.store.view.table(self.kind(obj)).get(obj.id)
            obj.meta.version.index = stored.meta.version.index if stored else 0
            self.store.commit_now([Put(obj)])

    @staticmethod
    def kind(obj: Object) -> str:
        return type(obj).__name__.lower()


def cluster(heartbeat_s: int = 5) -> Cluster:
    made = Cluster(id="cluster", vxlan_udp_port=4789)
    made.spec.annotations.name = "default"
    made.spec.dispatcher.heartbeat_period.seconds = heartbeat_s
    made.root_ca.ca_cert = b"root"
    made.root_ca.ca_key = b"secret key"
    made.root_ca.ca_cert_hash = "x" * 50
    made.root_ca.join_tokens.worker = "SWMTKN-1-old-worker"
    return made


def node(node_id: str, *, ready: bool = False, manager: bool = False) -> Node:
    made = Node(id=node_id)
    made.description.hostname = f"host-{node_id}"
    made.description.data_path_addr = "192.0.2.1"
    made.status.state = NodeStatus.READY if ready else NodeStatus.UNKNOWN
    if manager:
        made.role = MANAGER
        made.spec.desired_role = MANAGER
        made.manager_status.addr = f"192.0.2.1:{len(node_id)}"
    return made


def task(node_id: str, service_id: str = "svc", slot: int = 1) -> Task:
    made = Task(id=new_id(), node_id=node_id, service_id=service_id, slot=slot)
    made.service_annotations.name = "web"
    made.spec.container.image = "busybox"
    made.desired_state = task_states.RUNNING
    made.status.state = task_states.ASSIGNED
    made.annotations.name = f"web.{slot}.{made.id}"
    return made


def ingress() -> Network:
    """The network of published ports, as `swarm init` makes it."""
    made = Network(id="ingress-id")
    made.spec.annotations.name = "ingress"
    made.spec.ingress = True
    made.spec.driver.name = "overlay"
    return made


def service_spec(name: str = "web", image: str = "busybox") -> ServiceSpec:
    spec = ServiceSpec()
    spec.annotations.name = name
    spec.task.container.image = image
    spec.replicated.replicas = 2
    return spec


class Agent:
    """An agent that speaks the protocol and runs nothing."""

    def __init__(self, address: str, node_id: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.node_id = node_id
        self.channel = grpc.aio.insecure_channel(address, options=options)
        self.call: Any = None
        self.items: dict[tuple[str, str], Any] = {}
        self.sequence = ""
        self.messages = 0
        self.subscriptions: list[Any] = []
        self.report_again: list[str] = []
        self.fetches: list[Any] = []
        self.tunnels: list[Any] = []
        self.checks: list[Any] = []
        self.info: Any = None
        self.changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def connect(
        self, instance: str = "one", attachments: Sequence[HeldAttachment] = ()
    ) -> Agent:
        self.call = DispatcherStub(self.channel).Session(metadata=(("node", self.node_id),))
        hello = Hello(instance=instance, attachments=attachments)
        hello.description.hostname = f"host-{self.node_id}"
        hello.description.data_path_addr = "192.0.2.9"
        hello.description.image_port = 2378
        with rpc.translated():
            await self.call.write(AgentMessage(hello=hello))
            first = await self.call.read()
        if first is grpc.aio.EOF:
            raise await failure(self.call)
        self.take(first)
        self._reader = asyncio.ensure_future(self._read())
        return self

    async def _read(self) -> None:
        while (message := await self.call.read()) is not grpc.aio.EOF:
            self.take(message)

    def take(self, message: ManagerMessage) -> None:
        self.messages += 1
        if message.HasField("session"):
            self.info = message.session
        if message.HasField("log_subscription"):
            self.subscriptions.append(message.log_subscription)
        if message.HasField("fetch_image"):
            self.fetches.append(message.fetch_image)
        if message.HasField("open_tunnel"):
            self.tunnels.append(message.open_tunnel)
        if message.HasField("check_network"):
            self.checks.append(message.check_network)
        self.report_again.extend(message.report_again)
        if message.HasField("assignments"):
            self._assigned(message.assignments)
        self.changed.set()

    def _assigned(self, message: Any) -> None:
        if message.type == message.COMPLETE:
            self.items.clear()
        else:
            assert message.applies_to == self.sequence
        self.sequence = message.results_in
        for change in message.changes:
            kind = change.WhichOneof("item")
            item = getattr(change, kind)
            if change.action == change.REMOVE:
                self.items.pop((kind, item.id), None)
            else:
                self.items[kind, item.id] = item

    def of(self, kind: str) -> dict[str, Any]:
        return {i: item for (k, i), item in self.items.items() if k == kind}

    async def until(self, holds: Callable[[], bool], timeout_s: float = 5.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    async def report(self, task_id: str, state: int, **fields: Any) -> None:
        update = TaskStatusUpdate(task_id=task_id)
        update.status.state = state  # type: ignore[assignment]
        update.status.healthy = True
        for name, value in fields.items():
            setattr(update.status, name, value)
        await self.call.write(AgentMessage(statuses=[update]))

    async def ended(self) -> Exception:
        assert self._reader is not None
        with contextlib.suppress(grpc.aio.AioRpcError):
            await asyncio.wait_for(self._reader, 5)
        return await failure(self.call)

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self.channel.close()


async def failure(call: Any) -> Exception:
    error = grpc.aio.AioRpcError(await call.code(), None, None, await call.details())
    return rpc.translate(error)


async def until(holds: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait until it holds, looking often."""
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture
def socket_path() -> Any:
    with tempfile.TemporaryDirectory(prefix="swarmlite-api-") as folder:
        yield Path(folder) / "manager.sock"


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    """A manager whose dispatcher runs."""
    made = Manager()
    made.put(cluster())
    running = asyncio.ensure_future(made.dispatcher.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def control(manager: Manager, socket_path: Path) -> AsyncIterator[ControlStub]:
    """A client of the API, through the real servers, interceptors and a unix socket."""
    async with (
        serving(
            [manager.register],
            lambda: manager.store.view,
            socket_path=socket_path,
            listen_addr=None,
            certificates_dir=socket_path.parent,
        ),
        rpc.unix_channel(socket_path) as channel,
    ):
        yield ControlStub(channel)


@pytest.fixture
async def agents(manager: Manager, socket_path: Path) -> AsyncIterator[Callable[[str], Agent]]:
    """Makes agents that talk to the dispatcher over a real socket."""
    server = grpc.aio.server(interceptors=[rpc.TranslateErrors()], options=rpc.SERVER_OPTIONS)
    service = DispatcherService(manager.dispatcher, node_of_metadata)
    add_DispatcherServicer_to_server(service, server)
    address = f"unix:{socket_path}.dispatcher"
    server.add_insecure_port(address)
    await server.start()
    made: list[Agent] = []

    def make(node_id: str) -> Agent:
        made.append(Agent(address, node_id))
        return made[-1]

    yield make
    await asyncio.gather(*(agent.close() for agent in made))
    await until(lambda: not len(manager.dispatcher.sessions))
    await server.stop(0)


async def ask(call: Any) -> Any:
    with rpc.translated():
        return await call


async def refused(call: Any, error: type[SwarmliteError], words: str) -> None:
    with pytest.raises(error, match=words):
        await ask(call)


async def create(control: ControlStub, spec: ServiceSpec) -> Service:
    made: Service = await ask(control.CreateService(pb.CreateServiceRequest(spec=spec)))
    return made
