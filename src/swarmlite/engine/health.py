"""Health tests: a command in the container, from time to time; what it says of the task."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from swarmlite.engine.process_spec import HealthCheck
from swarmlite.errors import SwarmliteError

Probe = Callable[[Sequence[str], float], Awaitable[tuple[int, str]]]


class Health(enum.Enum):
    """What the tests say."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


async def watch_health(
    check: HealthCheck, probe: Probe, *, healthy: bool = False
) -> AsyncIterator[Health]:
    """Each change of health; begins as starting, or as healthy for a container that was adopted.

    Failures within the start period do not count until a first success; meanwhile tests come at
    the start interval. Ends after UNHEALTHY.
    """
    began = time.monotonic()
    failures = 0
    while True:
        starting = not healthy and time.monotonic() - began < check.start_period_s
        await asyncio.sleep(check.start_interval_s if starting else check.interval_s)
        if await _passes(check, probe):
            failures = 0
            if not healthy:
                healthy = True
                yield Health.HEALTHY
            continue
        if not healthy and time.monotonic() - began < check.start_period_s:
            continue
        failures += 1
        if failures >= check.retries:
            yield Health.UNHEALTHY
            return


async def _passes(check: HealthCheck, probe: Probe) -> bool:
    try:
        code, _ = await probe(check.command, check.timeout_s)
    except SwarmliteError:
        return False
    return code == 0
