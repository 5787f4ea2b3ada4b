"""`Engine`: the containers of one host behind one object, made of the room's parts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swarmlite.engine import bundles
from swarmlite.engine.cluster_networks import ClusterNetworks, NoCluster
from swarmlite.engine.connections import Connections
from swarmlite.engine.container_events import ContainerEvents
from swarmlite.engine.container_mounts import ContainerMounts
from swarmlite.engine.events import Events
from swarmlite.engine.exits import SupervisorLink
from swarmlite.engine.files import Files
from swarmlite.engine.health import HealthMonitor
from swarmlite.engine.inspect import Inspection
from swarmlite.engine.io.exec_events import ExecEvents
from swarmlite.engine.io.handing import Handing
from swarmlite.engine.io.probe import run_probe
from swarmlite.engine.io.service import Streams
from swarmlite.engine.lifecycle import Lifecycle, StepLists
from swarmlite.engine.records import Record, Records
from swarmlite.engine.recovery import Recovery
from swarmlite.engine.roots import Roots
from swarmlite.engine.shared_memory import SharedMemory
from swarmlite.engine.stats import Stats
from swarmlite.engine.steps import create, prepare
from swarmlite.engine.transients import Transients
from swarmlite.engine.updates import Updates
from swarmlite.errors import NotFound, SwarmliteError
from swarmlite.network.api import BRIDGE
from swarmlite.network.node import NodeNetwork
from swarmlite.paths import Paths
from swarmlite.storage.host import Storage

log = logging.getLogger(__name__)
SWEEP_S = 30.0


class Engine:
    """What a host's containers are made with. `start` first, then `run` until the end, `close`."""

    def __init__(
        self,
        paths: Paths,
        cgroup_parent: str,
        storage: Storage,
        network: NodeNetwork,
        supervisor: SupervisorLink,
    ) -> None:
        """Nothing is read or touched before `start`."""
        self.storage, self.network, self.supervisor = storage, network, supervisor
        self.cluster: ClusterNetworks = NoCluster()
        """Set by the agent while its node is in a swarm."""
        self.events = Events()
        self.records = Records(paths.containers_dir, paths.bundles_dir)
        self._roots = Roots(storage.images, storage.snapshots, paths.run_dir / "empty")
        self._shm = SharedMemory(paths.run_dir / "shm", self.records)
        self._mounts = ContainerMounts(storage.volumes, storage.leases)
        self.told = ContainerEvents(self.events, self._driver_of)
        """For what is done to containers outside of their lifecycle."""
        steps = self._steps(cgroup_parent)
        self.lifecycle = Lifecycle(
            self.records,
            steps,
            storage.images,
            supervisor,
            self.told,
            self._mounts.remove_anonymous,
        )
        self.lifecycle.gone = lambda record: self.streams.removed(record.id)
        self.lifecycle.runs.health = HealthMonitor(self._probe, self.told, self.lifecycle.save)
        supervisor.on_oom = self._out_of_memory
        self.streams = Streams(supervisor, self._tell)
        execs = self.streams.execs
        self.inspection = Inspection(storage.images, storage.snapshots, execs.ids_of)
        self.files = Files(storage.snapshots)
        self.stats = Stats(supervisor)
        self.updates = Updates(self.records, supervisor, self.told)
        self.connections = Connections(
            self.network, self._place, lambda: self.cluster, self.lifecycle, self.told.network
        )
        self.transients = self._transients(cgroup_parent)
        self._recovery = Recovery(
            self.records, steps, self.lifecycle, supervisor, network, self._mounts, storage
        )

    def _steps(self, cgroup_parent: str) -> StepLists:
        root = create.Root(self._roots)
        self._place = prepare.Network(
            self.network, lambda: self.cluster, self.records, self.told.network
        )
        return StepLists(
            create=(
                create.Folder(self.storage.leases),
                root,
                create.Volumes(self._mounts, self.records, self._roots, self.told),
            ),
            prepare=(
                prepare.Mounts(self._mounts, self._roots, self.told.mounts),
                self._shm,
                self._place,
                prepare.HostFiles(self.records, self._gateway),
                prepare.Bundle(self._roots, self.records, self._shm, cgroup_parent),
            ),
            process=(prepare.Process(self.supervisor, self._awaited, self._created),),
            discard=(root,),
        )

    def _transients(self, cgroup_parent: str) -> Transients:
        place = prepare.Network(self.network, lambda: self.cluster, self.records, lambda *_: None)
        steps = (
            place,
            prepare.HostFiles(self.records, self._gateway),
            prepare.Bundle(self._roots, self.records, self._shm, cgroup_parent),
        )
        return Transients(self.records, steps, self.supervisor)

    def _gateway(self) -> str:
        configs = self.network.networks.get(BRIDGE).ipam.configs
        return next((config.gateway for config in configs if config.gateway), "")

    def _awaited(self, container_id: str) -> bool:
        return self.streams.attachments.awaited(container_id)

    async def _created(self, container_id: str) -> None:
        """Where anybody waited the process does, before its exec: they miss nothing."""
        await self.streams.connect(container_id)

    def _driver_of(self, network_id: str) -> str:
        try:
            return self.network.networks.get(network_id).spec.driver.name
        except NotFound:
            return "overlay"  # of the managers

    def handing(self, path: Path) -> Handing:
        """Descriptors of containers, for who asks on this socket; to be run."""
        return Handing(path, self.streams, self.records.find)

    def _tell(self, container_id: str, action: str, /, **attributes: str) -> None:
        if (record := self.records.get(container_id)) is not None:
            self.told.tell(record, action, **attributes)

    def _out_of_memory(self, container_id: str) -> None:
        self._tell(container_id, "oom")

    async def _probe(
        self, record: Record, command: Sequence[str], timeout_s: float
    ) -> tuple[int, str]:
        spec = await asyncio.to_thread(bundles.read_spec, bundles.of(record))
        process: dict[str, Any] = spec.get("process", {})
        process.update(args=list(command), terminal=False)
        events = ExecEvents(self._tell, record.id, command)
        events.created()
        events.started()
        code, output = await run_probe(self.supervisor.client, record.id, process, timeout_s)
        events.died(code)
        return code, output

    # life
    async def start(self) -> None:
        """Take up what an earlier process left. Raises Unavailable, OSError."""
        bundles.mount(self.records.bundles)
        await self._recovery.start()

    async def run(self) -> None:
        """Sweep from time to time, and when a supervisor is back; ends by cancellation."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self.supervisor.came_back.wait()
            self.supervisor.came_back.clear()
            with contextlib.suppress(SwarmliteError):
                await self.sweep()

    async def sweep(self) -> None:
        """Remove what no record owns. Raises Unavailable without a supervisor."""
        try:
            await self._recovery.sweep()
        except OSError as error:
            log.warning("sweep not complete error=%s", error)

    async def close(self) -> None:
        """Containers run on, and are adopted at the next start."""
        await self.lifecycle.background.close()
