"""Statuses of tasks, as an agent reports them."""

from __future__ import annotations

import time
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.engine.exits import Exit
from swarmlite.model import task_states
from swarmlite.proto.types_pb2 import ContainerStatus, PortConfig, TaskState, TaskStatus


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
) -> TaskStatus:
    """A status as an agent reports it; the container is named from STARTING on."""
    moment = now()
    result = TaskStatus(
        timestamp=moment,
        state=state,
        message=message,
        err=err,
        healthy=healthy,
        applied_by=node_id,
        applied_at=moment,
    )
    if state >= task_states.READY and container_id and state != task_states.REJECTED:
        result.container.CopyFrom(ContainerStatus(container_id=container_id, pid=pid))
        if end is not None:
            result.container.pid = 0
            result.container.exit_code = end.code
            result.container.oom_killed = end.oom_killed
    if task_states.READY <= state <= task_states.RUNNING:
        result.host_ports.extend(host_ports)
    return result
