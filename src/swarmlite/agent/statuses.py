"""Statuses of tasks, as an agent reports them."""

from __future__ import annotations

import time
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.engine.exits import Exit
from swarmlite.model import task_states
from swarmlite.proto.containers_pb2 import Health
from swarmlite.proto.types_pb2 import (
    ContainerStatus,
    HealthProbe,
    PortConfig,
    TaskState,
    TaskStatus,
)

PROBE_CHARACTERS = 500


def now() -> Timestamp:
    """This moment."""
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def status(
    state: TaskState.ValueType,
    message: str,
    *,
    node_id: str,
    err: str = "",
    end: Exit | None = None,
    container_id: str = "",
    pid: int = 0,
    host_ports: Iterable[PortConfig] = (),
    healthy: bool = False,
    health: Health | None = None,
    since: Timestamp | None = None,
) -> TaskStatus:
    """A status as an agent reports it; the container is named from STARTING on.

    `since` is when the state was reached, where that was before now.
    """
    moment = now()
    result = TaskStatus(
        timestamp=since or moment,
        state=state,
        message=message,
        err=err,
        healthy=healthy,
        applied_by=node_id,
        applied_at=moment,
    )
    if state >= task_states.READY and container_id and state != task_states.REJECTED:
        result.container.CopyFrom(ContainerStatus(container_id=container_id, pid=pid))
        if health is not None:
            _add_health(result.container, health)
        if end is not None:
            result.container.pid = 0
            result.container.exit_code = end.code
            result.container.oom_killed = end.oom_killed
    if task_states.READY <= state <= task_states.RUNNING:
        result.host_ports.extend(host_ports)
    return result


def _add_health(container: ContainerStatus, health: Health) -> None:
    container.health = Health.Status.Name(health.status or Health.STARTING).lower()
    container.health_log.extend(
        HealthProbe(
            start=result.start,
            end=result.end,
            exit_code=result.exit_code,
            output=" ".join(result.output.split())[:PROBE_CHARACTERS],
        )
        for result in health.log
    )
