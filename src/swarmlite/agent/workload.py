"""What a controller asks of the container of its task: the narrow seam between deciding and doing.

`task_workload` does it through the engine, `scripted_workload` as a test says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from swarmlite.engine.exits import Exit
from swarmlite.proto.containers_pb2 import Health
from swarmlite.proto.types_pb2 import PortConfig


def container_id_of(task_id: str) -> str:
    """A task has one container, ever; so its id follows from the task's."""
    return hashlib.sha256(task_id.encode()).hexdigest()


class Workload(Protocol):
    """The container of one task. Every method is safe to repeat and to cancel.

    Cancelled: a step that has begun in the kernel is finished first, so that `release` finds it.
    """

    container_id: str
    host_ports: Sequence[PortConfig]

    async def prepare(self) -> None:
        """Image, volumes, sandbox: all but the process. Raises SwarmliteError, OSError."""

    async def start(self) -> int:
        """The pid of the started process. Raises SwarmliteError."""

    async def exited(self) -> Exit:
        """How the process ended, once it has. Raises NotFound when that cannot be known."""

    async def stop(self, *, grace_s: float | None = None) -> Exit | None:
        """The stop signal, the grace period, SIGKILL. None when nothing was running."""

    async def release(self) -> None:
        """Nothing runs and nothing of the run is left; files stay."""

    async def clear(self) -> None:
        """Every file but the log is gone too."""

    async def forget(self) -> None:
        """The log is gone too."""

    def health(self) -> Health | None:
        """The health of the running container; None without a health check."""

    async def health_changed(self, seen: Health.Status.ValueType) -> Health.Status.ValueType:
        """The health, once it is another than `seen`; never without a health check."""
