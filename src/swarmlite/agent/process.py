"""The agent's process: everything wired together, one task group for its life.

SIGTERM and SIGINT end it; containers, their wiring and their DNS sockets stay as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterable
from pathlib import Path

import grpc.aio

from swarmlite import rpc
from swarmlite.agent import description
from swarmlite.agent.assignments import AssignmentSet
from swarmlite.agent.carrying.node import NodeImages
from swarmlite.agent.cluster_networks import SessionNetworks
from swarmlite.agent.config import AgentConfig
from swarmlite.agent.disk import DiskWatch
from swarmlite.agent.journal import Journal
from swarmlite.agent.managers import ManagerList
from swarmlite.agent.membership import Membership
from swarmlite.agent.network_checks import NetworkChecks
from swarmlite.agent.observed import AgentObserved
from swarmlite.agent.payloads import PayloadFiles, Payloads
from swarmlite.agent.place import place_of
from swarmlite.agent.reaching.tunnels import Tunnels
from swarmlite.agent.reporter import Reporter
from swarmlite.agent.session import Session
from swarmlite.agent.task_workload import Surroundings
from swarmlite.agent.usage import Usage
from swarmlite.agent.worker import Worker
from swarmlite.build import service as builds
from swarmlite.build.builder import Builder
from swarmlite.engine.api import add_services
from swarmlite.engine.cluster_networks import NoCluster
from swarmlite.engine.engine import Engine
from swarmlite.engine.exits import SupervisorLink
from swarmlite.engine.images import TaskImages
from swarmlite.engine.roots import make_init_layer
from swarmlite.errors import PermissionDenied, SwarmliteError
from swarmlite.identity import ageing
from swarmlite.identity.certificates import Certificates
from swarmlite.identity.files import Identity
from swarmlite.identity.issuers import issuer_of
from swarmlite.identity.lock import KeyLock
from swarmlite.identity.node import DEFAULT_VXLAN_PORT, NodeIdentity
from swarmlite.identity.renewal import Renewal
from swarmlite.ids import new_id
from swarmlite.kernel import durable
from swarmlite.network.node import NodeNetwork, probe
from swarmlite.network.own_addresses import own_addresses
from swarmlite.network.own_routes import own_routes
from swarmlite.proto.host_pb2 import HostInfo
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.observed_pb2_grpc import add_ObservedServicer_to_server
from swarmlite.proto.types_pb2 import NodeDescription
from swarmlite.storage.host import Storage

log = logging.getLogger(__name__)

SUPERVISOR_DEADLINE_S = 30.0
LOCKED_LOOK_S = 0.5
SHOWN_TASKS = 5


class Agent:
    """One node's agent; `run` is its whole life."""

    def __init__(self, config: AgentConfig) -> None:
        """Directories are made; nothing else is touched."""
        self._config = config
        paths = config.paths
        for folder in (paths.state_dir, paths.run_dir, paths.agent_dir, paths.containers_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._supervisor = SupervisorLink(paths.supervisor_socket)
        init_layer = make_init_layer(paths.state_dir / "init-layer")
        self._storage = Storage(paths, below=[init_layer], collect=False)
        self._journal = Journal(paths.agent_dir / "tasks.journal")
        self._disk = DiskWatch(paths.state_dir, lambda: self._journal.failure)
        self._reporter = Reporter(self._journal.put_status)
        self._cgroup = "unknown"
        self._warnings: list[str] = []
        self._session: Session | None = None
        self._wiring: NodeNetwork | None = None
        self._error = ""
        self._image_port = 0
        self._assignments: AssignmentSet | None = None

    async def run(self) -> None:
        """Until cancelled. Raises SwarmliteError when it cannot begin, with one line."""
        await self._supervisor.connect(SUPERVISOR_DEADLINE_S)
        info = await self._supervisor.client.info()
        self._cgroup = str(info.get("cgroup", "unknown"))
        self._warnings = [
            *description.warnings(),
            *info.get("warnings", []),
            *await asyncio.to_thread(probe),
        ]
        for warning in self._warnings:
            log.warning("this host lacks something: %s", warning)
        node = self._config.node
        network = self._wiring = self._network(node)
        await network.start()
        engine = Engine(
            self._config.paths,
            self._config.cgroup_parent,
            self._storage,
            network,
            self._supervisor,
        )
        engine.lifecycle.cgroup = self._cgroup
        builder = Builder(self._config.paths, engine)
        self._storage.images.collect()  # whoever needs layers has said so
        around = self._surroundings(engine, node)
        around.payload_files.mount()
        node_id = node.node_id if node else ""
        worker = Worker(around, self._journal, self._reporter, node_id=node_id)
        self._assignments = worker.assignments
        await engine.start()
        observed = AgentObserved(
            engine, worker, self._reporter, lambda: self._session, self._host_info
        )
        server = await self._serve(engine, builder, observed)
        try:
            await worker.start()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._journal.run())
                group.create_task(self._supervisor.run())
                group.create_task(engine.run())
                group.create_task(engine.handing(self._config.paths.attach_socket).run())
                group.create_task(self._storage.run())
                group.create_task(builder.upkeep.run())
                group.create_task(worker.run())
                if node is None:
                    await self._leave(network, worker)
                else:
                    group.create_task(self._belong(group, node, around, worker))
        finally:
            await server.stop(0.2)
            await engine.close()
            self._journal.flush()
            with contextlib.suppress(SwarmliteError):
                await network.close()
            await self._supervisor.close()
            self._storage.close()

    async def _leave(self, network: NodeNetwork, worker: Worker) -> None:
        """Outside of a swarm nothing of one stays on the host; plain containers run on."""
        try:
            await worker.abandon()
            await network.leave()
        except SwarmliteError as error:  # the engine goes on; the next start tries again
            self._warnings.append(f"something of the swarm that was left stays: {error}")
            log.error("leaving is not complete error=%s", error)

    def _network(self, node: NodeIdentity | None) -> NodeNetwork:
        return NodeNetwork(
            self._config.paths,
            node_id=node.node_id if node else "",
            data_path_addr=node.data_path_addr if node else "127.0.0.1",
            vxlan_port=node.data_path_port if node else DEFAULT_VXLAN_PORT,
            fds=self._supervisor,
        )

    def _surroundings(self, engine: Engine, node: NodeIdentity | None) -> Surroundings:
        return Surroundings(
            engine=engine,
            images=TaskImages(self._storage.images),
            payloads=Payloads(),
            payload_files=PayloadFiles(self._config.paths.run_dir / "secrets"),
            node=Node(id=node.node_id if node else "", description=self._describe()),
        )

    # the swarm
    async def _belong(
        self, group: asyncio.TaskGroup, node: NodeIdentity, around: Surroundings, worker: Worker
    ) -> None:
        """Sessions with managers, for as long as they want this node."""
        identity = Identity(self._config.paths)
        while identity.lock.locked:  # noqa: ASYNC110  # the daemon is told the key
            await asyncio.sleep(LOCKED_LOOK_S)
        identity.finish()
        managers = ManagerList(self._config.paths.agent_dir / "managers.json", node.managers)

        def channel(address: str) -> grpc.aio.Channel:
            return rpc.secure_channel([address], identity.certificates.folder)

        engine = around.engine
        places = SessionNetworks(self._connected_to, channel, engine.network, engine.records)
        engine.cluster = places
        renewal = Renewal(identity, lambda: managers.next()[0], channel, self._reconnect)
        images = NodeImages(self._storage.images, identity.certificates, managers.addresses)
        around.images.peers = images.peers
        tunnels = Tunnels(engine, self._config.paths.run_dir, self._connected_to, channel)
        usage = Usage(engine.stats, engine.records)
        checks = NetworkChecks(engine.network.checks)
        self._session = session = Session(
            managers=managers,
            channel=channel,
            description=self._describe,
            reporter=self._reporter,
            handler=Membership(around, worker, renewal.heard, images, checks),
            attachments=places.held,
            outgoing=(
                *images.outgoing,
                usage.messages,
                usage.figures,
                checks.messages,
            ),
            fetch=images.fetch,
            tunnel=tunnels.asked,
            measure=usage.asked,
            check=checks.asked,
            place=place_of(self._config.paths.state_dir),
        )
        renewing = group.create_task(renewal.run())
        try:
            async with (
                tunnels.serving(),
                images.serving(node.data_path_addr) as self._image_port,
            ):
                await session.run()
        except PermissionDenied as error:
            renewing.cancel()
            engine.cluster = NoCluster()
            self._error = f"this node was removed from the swarm: {error}"
            log.error("removed from the swarm error=%s", error)
            await self._leave(around.engine.network, worker)

    def _reconnect(self) -> None:
        if self._session is not None:
            self._session.reconnect()

    def _connected_to(self) -> str:
        return self._session.connected_to if self._session is not None else ""

    def _describe(self) -> NodeDescription:
        node = self._config.node
        described = description.describe(
            data_path_addr=node.data_path_addr if node else "",
            cgroup=self._cgroup,
            labels=dict(self._config.labels),
            generic=self._config.generic_resources,
            allowed=self._config.allowed,
        )
        described.warnings.extend(self._disk.warnings())
        if self._assignments is not None and self._assignments.unknown:
            described.warnings.append(_unknown(self._assignments.unknown))
        described.image_port = self._image_port
        if self._wiring is not None:
            described.encryption.CopyFrom(self._wiring.encrypting.describe())
        if node is not None:
            with contextlib.suppress(OSError):  # the next one has them
                described.addresses.extend(own_addresses())
                described.routes.extend(own_routes())
            with contextlib.suppress(OSError, ValueError):  # locked, or being replaced
                certificate = Certificates(self._config.paths.certificates_dir).certificate
                described.certificate_issuer = issuer_of(certificate)
                described.warnings.extend(ageing.warnings(certificate))
        described.warnings.extend(self._hindrances())
        if self._wiring is not None:
            described.warnings.extend(self._wiring.warnings())
        return described

    def _hindrances(self) -> list[str]:
        try:
            node = Identity(self._config.paths).read()
        except SwarmliteError:
            return []
        if node is None or not node.promoted or not node.hindrance:
            return []
        return [f"cannot become a manager: {node.hindrance}"]

    # the host's own socket
    async def _serve(
        self, engine: Engine, builder: Builder, observed: AgentObserved
    ) -> grpc.aio.Server:
        options = rpc.LOCAL_SERVER_OPTIONS
        server = grpc.aio.server(interceptors=[rpc.TranslateErrors()], options=options)
        add_services(server, engine, self._host_info)
        builds.add_service(server, builder)
        add_ObservedServicer_to_server(observed, server)
        path = self._config.paths.agent_socket
        path.unlink(missing_ok=True)
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        path.chmod(0o600)  # the run directory is 0700 too
        return server

    def _host_info(self) -> HostInfo:
        node = self._config.node
        return HostInfo(
            description=self._describe(),
            node_id=node.node_id if node else "",
            cluster_id=node.cluster_id if node else "",
            swarm_state=self._swarm_state(),
            manager=node.manager if node else False,
            error=self._error or (self._session.error if self._session else ""),
            state_dir=str(self._config.paths.state_dir),
            cgroup_version=self._cgroup,
            engine_id=engine_id(self._config.paths.state_dir / "engine-id"),
            warnings=self._warnings,
        )

    def _swarm_state(self) -> str:
        if self._config.node is None:
            return "inactive"
        if self._error:
            return "error"
        if KeyLock(self._config.paths).locked:
            return "locked"
        connected = self._session is not None and self._session.connected_to
        return "active" if connected else "pending"


def _unknown(task_ids: Iterable[str]) -> str:
    ids = sorted(task_ids)
    more = f" and {len(ids) - SHOWN_TASKS} more" if len(ids) > SHOWN_TASKS else ""
    return f"runs tasks that the restored store does not know: {' '.join(ids[:SHOWN_TASKS])}{more}"


def engine_id(path: Path) -> str:
    """An id that stays for the life of the state directory."""
    try:
        return path.read_text().strip() or new_id()
    except OSError:
        made = new_id()
    with contextlib.suppress(OSError):  # a full disk: another one the next time
        durable.write(path, made.encode())
    return made


async def run_until_signalled(config: AgentConfig) -> None:
    """Run the agent until SIGTERM or SIGINT. Raises SwarmliteError when it cannot begin."""
    loop = asyncio.get_running_loop()
    life = asyncio.ensure_future(Agent(config).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, life.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await life
