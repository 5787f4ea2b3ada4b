"""What a plain container's limits may say, with Docker's minimums."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerResources

MIN_MEMORY_BYTES = 6 * 1024 * 1024
_PERIOD_US = (1_000, 1_000_000)
_MIN_QUOTA_US = 1_000


def validate_limits(limits: ContainerResources) -> None:
    """Raise InvalidSpec for the first limit that is out of bounds or contradicts another."""
    _memory(limits)
    _processors(limits)
    if limits.pids_limit < -1:
        raise InvalidSpec(f"--pids-limit: {limits.pids_limit} is out of range, -1 is no limit")
    if limits.blkio_weight and not 10 <= limits.blkio_weight <= 1000:
        raise InvalidSpec(f"--blkio-weight: {limits.blkio_weight} is out of range, 10 to 1000")


def _memory(limits: ContainerResources) -> None:
    memory, reservation = limits.memory_bytes, limits.memory_reservation_bytes
    if memory < 0 or 0 < memory < MIN_MEMORY_BYTES:
        raise InvalidSpec("--memory: the minimum memory limit is 6m")
    if reservation < 0 or 0 < reservation < MIN_MEMORY_BYTES:
        raise InvalidSpec("--memory-reservation: the minimum is 6m")
    if memory and reservation > memory:
        raise InvalidSpec("--memory-reservation: must not be above --memory")
    if limits.HasField("memory_swap_bytes") and limits.memory_swap_bytes > 0:
        if not memory:
            raise InvalidSpec("--memory-swap: needs --memory too")
        if limits.memory_swap_bytes < memory:
            raise InvalidSpec(
                "--memory-swap: must not be below --memory, since it is memory and swap together"
            )
    if limits.HasField("memory_swap_bytes") and limits.memory_swap_bytes < -1:
        raise InvalidSpec("--memory-swap: expected a size, or -1 for no limit")
    if limits.HasField("memory_swappiness") and not 0 <= limits.memory_swappiness <= 100:
        raise InvalidSpec("--memory-swappiness: expected a whole number from 0 to 100")


def _processors(limits: ContainerResources) -> None:
    period, quota = limits.cpu_period_us, limits.cpu_quota_us
    if limits.nano_cpus and (period or quota):
        other = "--cpu-period" if period else "--cpu-quota"
        raise InvalidSpec(f"conflicting options: --cpus and {other} cannot both be set")
    if limits.nano_cpus < 0:
        raise InvalidSpec("--cpus: must not be negative")
    if period and not _PERIOD_US[0] <= period <= _PERIOD_US[1]:
        raise InvalidSpec("--cpu-period: expected 1000 to 1000000 (1ms to 1s)")
    if 0 < quota < _MIN_QUOTA_US:
        raise InvalidSpec("--cpu-quota: must be 1000 (1ms) or more")
    if limits.cpu_shares < 0:
        raise InvalidSpec("--cpu-shares: must not be negative")
    if limits.cpu_rt_runtime_us and limits.cpu_rt_runtime_us > (
        limits.cpu_rt_period_us or _PERIOD_US[1]
    ):
        raise InvalidSpec("--cpu-rt-runtime: must not be above --cpu-rt-period")
