"""Health tests: a command in the container, from time to time; what it says of the container.

Source: the HEALTHCHECK instruction of the Dockerfile reference.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from swarmlite.engine.container_events import ContainerEvents
from swarmlite.engine.events import moment, nanoseconds
from swarmlite.engine.process_spec import HealthCheck, check_of
from swarmlite.engine.records import Record
from swarmlite.errors import SwarmliteError, Unavailable
from swarmlite.proto.containers_pb2 import ContainerState, Health, HealthResult

log = logging.getLogger(__name__)

RESULTS = 5
OUTPUT_CHARACTERS = 4096
ENDING_S = 0.2
Probe = Callable[[Record, Sequence[str], float], Awaitable[tuple[int, str]]]
"""Exit code and output of a command in a container; -1 when it took too long."""


class HealthMonitor:
    """Tests one running container after the other's start; one task each."""

    def __init__(
        self, probe: Probe, events: ContainerEvents, save: Callable[[Record], Awaitable[None]]
    ) -> None:
        """`save` writes a record down when its health has changed."""
        self._probe, self._events, self._save = probe, events, save

    async def watch(self, record: Record) -> None:
        """Test until cancelled; returns at once without a health check."""
        check = check_of(record.message.healthcheck)
        if check is None:
            return
        health = record.state.health
        if health.status == Health.NONE:
            health.status = Health.STARTING
            record.changed()
        while True:
            await asyncio.sleep(_pause_s(check, record))
            if record.state.status == ContainerState.RUNNING:
                await self._test(check, record)

    async def _test(self, check: HealthCheck, record: Record) -> None:
        began = time.time_ns()
        try:
            code, output = await self._probe(record, check.command, check.timeout_s)
        except (Unavailable, OSError) as error:
            # The host had no descriptor or no supervisor to run it with: that says nothing of the
            # container.
            log.warning("health test not run container=%s error=%s", record.id, error)
            return
        except SwarmliteError as error:
            # In a container that is about to end nothing can be run: its end is heard meanwhile,
            # and ends this watch.
            await asyncio.sleep(ENDING_S)
            code, output = -1, str(error)
        if code == -1 and output == "timeout":
            output = f"Health check exceeded timeout ({check.timeout_s:g}s)"
        result = HealthResult(
            start=moment(began),
            end=moment(time.time_ns()),
            exit_code=code,
            output=output[:OUTPUT_CHARACTERS],
        )
        await self._take(check, record, result)

    async def _take(self, check: HealthCheck, record: Record, result: HealthResult) -> None:
        health = record.state.health
        before = health.status
        judge(health, result, check.retries, in_start_period=_in_start_period(check, record))
        record.changed()
        if health.status != before:
            await self._save(record)
            word = Health.Status.Name(health.status).lower()
            self._events.tell(record, f"health_status: {word}")


def judge(health: Health, result: HealthResult, retries: int, *, in_start_period: bool) -> None:
    """Take one result in. Failures in the start period do not count before a first success."""
    health.log.append(result)
    del health.log[:-RESULTS]
    if result.exit_code == 0:
        health.failing_streak = 0
        health.status = Health.HEALTHY
        return
    if in_start_period and health.status == Health.STARTING:
        return
    health.failing_streak += 1
    if health.failing_streak >= retries:
        health.status = Health.UNHEALTHY


def _in_start_period(check: HealthCheck, record: Record) -> bool:
    age_s = (time.time_ns() - nanoseconds(record.state.started)) / 1e9
    return 0 <= age_s < check.start_period_s


def _pause_s(check: HealthCheck, record: Record) -> float:
    starting = record.state.health.status == Health.STARTING
    if starting and _in_start_period(check, record):
        return check.start_interval_s
    return check.interval_s
