"""Changing a container's limits and restart policy, also while it runs."""

from __future__ import annotations

from typing import Any

from swarmlite.engine import configuration
from swarmlite.engine.container_events import ContainerEvents
from swarmlite.engine.exits import SupervisorLink
from swarmlite.engine.oci_spec import resources
from swarmlite.engine.records import Record, Records
from swarmlite.engine.steps import finished
from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.proto.containers_pb2 import (
    ContainerResources,
    ContainerRestartPolicy,
    ContainerState,
)

SECTIONS = {
    "cpu": ("nano_cpus", "cpu", "cpuset"),
    "memory": ("memory", "oom"),
    "pids": ("pids",),
    "blockIO": ("blkio", "device_read", "device_write", "device_weight"),
}


class Updates:
    """`update`."""

    def __init__(
        self, records: Records, supervisor: SupervisorLink, events: ContainerEvents
    ) -> None:
        """`supervisor` changes what runs."""
        self._records, self._supervisor, self._events = records, supervisor, events

    async def update(
        self,
        record: Record,
        changes: ContainerResources,
        policy: ContainerRestartPolicy | None,
    ) -> list[str]:
        """Warnings. Raises InvalidSpec, FailedPrecondition; then nothing has changed."""
        async with record.lock:
            if record.removed or record.state.status == ContainerState.REMOVING:
                raise FailedPrecondition("container is marked for removal and cannot be updated")
            if policy is not None:
                _check_policy(record, policy)
            merged = merge(record.config.resources, changes)
            if record.state.status in (ContainerState.RUNNING, ContainerState.PAUSED):
                live = live_changes(merged, changes)
                if live:
                    await finished(self._supervisor.client.update(record.id, live))
            record.config.resources.CopyFrom(merged)
            if policy is not None:
                record.config.restart.CopyFrom(policy)
            await self._records.save(record)
        self._events.tell(record, "update")
        return []


def merge(current: ContainerResources, changes: ContainerResources) -> ContainerResources:
    """Raises InvalidSpec for what would contradict itself, FailedPrecondition what there is."""
    quota = current.cpu_quota_us or current.cpu_period_us
    if changes.nano_cpus and quota:
        raise FailedPrecondition(
            "Conflicting options: NanoCPUs cannot be updated as CPU Quota/Period has already been"
            " set"
        )
    if current.nano_cpus and (changes.cpu_quota_us or changes.cpu_period_us):
        raise FailedPrecondition(
            "Conflicting options: CPU Quota/Period cannot be updated as NanoCPUs has already been"
            " set"
        )
    merged = resources.merge(current, changes)
    limit, swap = changes.memory_bytes, current.memory_swap_bytes
    if limit > swap > 0 and not changes.HasField("memory_swap_bytes"):
        raise InvalidSpec(
            "Memory limit should be smaller than already set memoryswap limit, update the "
            "memoryswap at the same time"
        )
    resources.check(merged)
    return merged


def live_changes(merged: ContainerResources, changes: ContainerResources) -> dict[str, Any]:
    """The sections of the OCI's `linux.resources` that something was changed in."""
    named = [descriptor.name for descriptor, _ in changes.ListFields()]
    complete = resources.of(merged)
    return {
        section: complete[section]
        for section, prefixes in SECTIONS.items()
        if section in complete and any(name.startswith(prefixes) for name in named)
    }


def _check_policy(record: Record, policy: ContainerRestartPolicy) -> None:
    if record.of_task:
        raise FailedPrecondition(f"container {record.name} is a task's: its service restarts it")
    if record.config.auto_remove and policy.condition != policy.NO:
        raise InvalidSpec(
            "Restart policy cannot be updated because AutoRemove is enabled for the container"
        )
    configuration.check_restart(policy, auto_remove=record.config.auto_remove)
