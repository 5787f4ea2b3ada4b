"""The container of one task: what a controller decides, done by the engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from swarmlite.agent import task_container
from swarmlite.agent.payloads import PayloadFiles, Payloads
from swarmlite.agent.workload import container_id_of
from swarmlite.engine.engine import Engine
from swarmlite.engine.exits import Exit
from swarmlite.engine.images import TaskImages
from swarmlite.engine.records import OWNER, Record
from swarmlite.engine.steps import finished
from swarmlite.errors import FailedPrecondition, NotFound
from swarmlite.model import templates
from swarmlite.proto.containers_pb2 import Health
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount, PortConfig
from swarmlite.storage.images.types import Image
from swarmlite.storage.leases import PULLS

log = logging.getLogger(__name__)


@dataclass
class Surroundings:
    """What the workloads of one node share: the engine, and what the managers sent."""

    engine: Engine
    images: TaskImages
    payloads: Payloads
    payload_files: PayloadFiles
    node: Node


class TaskWorkload:
    """See workload.Workload for the contract."""

    def __init__(self, task: Task, around: Surroundings) -> None:
        """Nothing is touched before `prepare`."""
        self._task, self._around = task, around
        self._engine = around.engine
        self._exits = 0
        self.container_id = container_id_of(task.id)
        self.host_ports: Sequence[PortConfig] = list(task.status.host_ports)

    @property
    def record(self) -> Record | None:
        """The engine's; None before it is made, and once somebody removed it."""
        return self._engine.records.get(self.container_id)

    def _record(self) -> Record:
        record = self.record
        if record is None:
            raise NotFound("task: the container is gone: it was removed by hand")
        return record

    # preparing
    async def prepare(self) -> None:
        """See workload.Workload."""
        around, task = self._around, self._task
        spec = templates.expand_container(
            task.spec.container, templates.context_of(task, around.node)
        )
        await around.payloads.ready(task, self._waiting)
        mounted = [mount.source for mount in spec.mounts if mount.type == Mount.IMAGE]
        if (
            not mounted
            and self.record is None
            and (image := around.images.here(spec.image)) is not None
        ):
            await self._make(spec, image)  # which holds it before anybody else has a turn
            return
        # Held under a name of its own until the container holds it: `image rm` may come any time.
        owner = PULLS + self.container_id
        try:
            image = await around.images.ensure(
                spec.image,
                spec.pull_options.registry_auth,
                owner=owner,
                sources=spec.pull_options.sources,
            )
            for ref in mounted:
                # Held as its container holds things: to the end of it.
                await around.images.ensure(
                    ref,
                    spec.pull_options.registry_auth,
                    owner=OWNER + self.container_id,
                    sources=spec.pull_options.sources,
                )
            await self._make(spec, image)
        finally:
            if mounted and self.record is None:
                self._engine.storage.leases.release(OWNER + self.container_id)
            self._engine.storage.leases.release(owner)

    async def _make(self, spec: ContainerSpec, image: Image) -> None:
        task = self._task
        config = task_container.configuration(task, spec)
        config.task.payload_mounts.extend(self._payload_mounts())
        if self.record is not None:  # of an earlier start of the agent
            await finished(self.forget())
        record, warnings = await self._engine.lifecycle.create(
            config, container_id=self.container_id, image=image
        )
        for warning in warnings:
            log.warning("task container task=%s warning=%s", task.id, warning)
        await self._engine.lifecycle.prepare(record)
        self.host_ports = list(record.message.ports)

    def _waiting(self, missing: list[str]) -> None:
        log.info("task waits task=%s for=%s", self._task.id, ", ".join(missing))

    def _payload_mounts(self) -> list[Mount]:
        around, container = self._around, self._task.spec.container
        if not container.secrets and not container.configs:
            return []
        if missing := around.payloads.missing(self._task):  # taken away during the pull
            raise FailedPrecondition(f"removed while the task was prepared: {missing[0]}")
        return around.payload_files.write(
            self.container_id, self._task, around.node, around.payloads
        )

    # running
    async def start(self) -> int:
        """See workload.Workload."""
        record = self._record()
        self._exits = record.exits
        await self._engine.lifecycle.start(record)
        self.host_ports = list(record.message.ports)
        return record.state.pid

    async def exited(self) -> Exit:
        """See workload.Workload."""
        record = self._record()
        await record.until(lambda: record.exits != self._exits or record.removed)
        end = record.last_end
        if end is None:
            raise NotFound("task: the container is gone: it was removed by hand")
        if record.ended_by_hand and end.code:
            what = f"task: its container {record.ended_by_hand} by hand on its node"
            return replace(end, lost=f"{what} (exit {end.code})")
        return end

    def health(self) -> Health | None:
        """See workload.Workload."""
        record = self.record
        if record is None or not record.message.HasField("healthcheck"):
            return None
        return record.state.health

    async def health_changed(self, seen: Health.Status.ValueType) -> Health.Status.ValueType:
        """See workload.Workload."""
        record = self.record
        if record is None or not record.message.HasField("healthcheck"):
            await asyncio.Event().wait()
        assert record is not None
        await record.until(lambda: record.state.health.status != seen)
        return record.state.health.status

    # ending
    async def stop(self, *, grace_s: float | None = None) -> Exit | None:
        """See workload.Workload."""
        record = self.record
        if record is None or not record.active:
            return record.last_end if record is not None else None
        await self._engine.lifecycle.stop(record, timeout_s=grace_s)
        return record.last_end

    async def release(self) -> None:
        """See workload.Workload."""
        record = self.record
        if record is not None:
            await finished(self._engine.lifecycle.release(record))
        self._around.payload_files.remove(self.container_id)

    async def clear(self) -> None:
        """See workload.Workload."""
        record = self.record
        if record is not None:
            await finished(self._engine.lifecycle.discard(record))

    async def forget(self) -> None:
        """See workload.Workload."""
        record = self.record
        if record is not None:
            await finished(self._engine.lifecycle.remove(record, force=True, volumes=True))
