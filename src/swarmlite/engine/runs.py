"""The lives of running containers: each one's end is waited for, recorded, and answered by its
restart policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Protocol

from swarmlite.engine import restart
from swarmlite.engine.background import Background
from swarmlite.engine.container_events import ContainerEvents
from swarmlite.engine.events import moment, nanoseconds
from swarmlite.engine.exits import LOST_CODE, Exit, SupervisorLink
from swarmlite.engine.health import HealthMonitor
from swarmlite.engine.records import Record
from swarmlite.errors import SwarmliteError, Unavailable
from swarmlite.proto.containers_pb2 import ContainerState

log = logging.getLogger(__name__)


class Changes(Protocol):
    """What a life does to its container; the lock is the caller's but for `remove`."""

    async def begin(self, record: Record) -> None:
        """Prepare and start. Raises SwarmliteError, having undone all."""

    async def ended(self, record: Record, status: ContainerState.Status.ValueType) -> None:
        """Nothing of the run stays; the record says `status`."""

    async def save(self, record: Record) -> None:
        """Write it down as well as can be."""

    async def remove(self, record: Record, *, force: bool = False, volumes: bool = False) -> None:
        """Take it away. Raises SwarmliteError."""


class Runs:
    """One task a container that was started, until it ends for good."""

    def __init__(
        self,
        changes: Changes,
        supervisor: SupervisorLink,
        events: ContainerEvents,
        background: Background,
    ) -> None:
        """`changes` does what is decided here."""
        self._changes, self._supervisor = changes, supervisor
        self._events, self._background = events, background
        self.health: HealthMonitor | None = None

    def follow(self, record: Record, *, end: Exit | None = None) -> None:
        """It was started, or found running; `end` when it was found ended."""
        if end is not None:
            record.last_end = end  # at once: an agent asks for it before the life goes on
        self._background.spawn(self._live(record, end), f"life of {record.id}")

    async def _live(self, record: Record, end: Exit | None) -> None:
        delay_s = 0.0
        daemon = end is not None
        # Its host lost its power: it did nothing wrong, and begins as if a user had started it.
        fresh = end is not None and end.code == LOST_CODE and bool(end.lost)
        if fresh:
            record.state.restart_count = 0
        while True:
            if end is None:
                end = await self._until_end(record)
            async with record.lock:
                again = await self._ended(record, end, daemon=daemon)
            end, daemon = None, False
            if not again:
                break
            delay_s = restart.next_delay_s(delay_s, _ran_s(record))
            if not await self._start_again(record, delay_s, counted=not fresh):
                break
            fresh = False
        if record.config.auto_remove and not record.of_task:
            with contextlib.suppress(SwarmliteError):
                await self._changes.remove(record, volumes=True)

    async def _until_end(self, record: Record) -> Exit:
        """Its health is tested meanwhile."""
        end = self._supervisor.expect(record.id)
        if self.health is None or not record.message.HasField("healthcheck"):
            return await asyncio.shield(end)
        testing = self._background.spawn(self.health.watch(record), f"health of {record.id}")
        try:
            return await asyncio.shield(end)
        finally:
            testing.cancel()
            await asyncio.wait((testing,))

    async def _ended(self, record: Record, end: Exit, *, daemon: bool) -> bool:
        """Record an end; whether the container is to be started again."""
        state = record.state
        record.last_end = end
        state.exit_code, state.oom_killed = end.code, end.oom_killed
        state.finished.CopyFrom(moment(end.finished_ns or time.time_ns()))
        again = not record.of_task and restart.wanted(record.config.restart, state, daemon=daemon)
        self._events.tell(
            record, "die", exitCode=str(end.code), execDuration=f"{_ran_s(record):.0f}"
        )
        record.exits += 1
        status = ContainerState.RESTARTING if again else ContainerState.EXITED
        await self._changes.ended(record, status)
        return again

    async def _start_again(self, record: Record, delay_s: float, *, counted: bool) -> bool:
        """After a pause; false when it was stopped or removed meanwhile, or could not be.

        What it needs and is away for a while (the supervisor, a container whose network it joins
        and that is restarted itself) is no fault of its own: it is tried again.
        """

        def gone() -> bool:
            return record.removed or record.state.status != ContainerState.RESTARTING

        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await record.until(gone)
            async with record.lock:
                if gone():
                    return False
                record.state.restart_count += counted
                counted = False
                try:
                    await self._changes.begin(record)
                except Unavailable as error:
                    log.warning("not restarted yet container=%s error=%s", record.id, error)
                except SwarmliteError as error:
                    log.warning("not restarted container=%s error=%s", record.id, error)
                    if not record.removed:
                        await self.give_up(record)
                    return False
                else:
                    return True
            delay_s = restart.next_delay_s(delay_s, 0.0)

    async def give_up(self, record: Record) -> None:
        """It is not started again; the lock is the caller's."""
        record.state.status = ContainerState.EXITED
        await self._changes.save(record)


def _ran_s(record: Record) -> float:
    state = record.state
    return max(0, nanoseconds(state.finished) - nanoseconds(state.started)) / 1e9
