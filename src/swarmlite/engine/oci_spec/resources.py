"""A container's limits as the OCI's `linux.resources`, and what is wrong with them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Any

from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerResources, DeviceThrottle

CPU_PERIOD_US = 100_000
MIN_QUOTA_US = 1000
NANO = 1_000_000_000
MIN_MEMORY_BYTES = 6 << 20
THROTTLES = {
    "device_read_bps": "throttleReadBpsDevice",
    "device_write_bps": "throttleWriteBpsDevice",
    "device_read_iops": "throttleReadIOPSDevice",
    "device_write_iops": "throttleWriteIOPSDevice",
}


def of(asked: ContainerResources) -> dict[str, Any]:
    """Only what was asked: an absent key is no limit, or at an update stays as it is."""
    found = {
        "cpu": _cpu(asked),
        "memory": _memory(asked),
        "pids": _pids(asked),
        "blockIO": _block(asked),
    }
    return {key: value for key, value in found.items() if value}


def _cpu(asked: ContainerResources) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    if asked.nano_cpus:
        # The kernel refuses a quota below 1 ms.
        quota = max(asked.nano_cpus * CPU_PERIOD_US // NANO, MIN_QUOTA_US)
        cpu.update(quota=quota, period=CPU_PERIOD_US)
    for key, value in (
        ("quota", asked.cpu_quota_us),
        ("period", asked.cpu_period_us),
        ("shares", asked.cpu_shares),
        ("realtimePeriod", asked.cpu_rt_period_us),
        ("realtimeRuntime", asked.cpu_rt_runtime_us),
        ("cpus", asked.cpuset_cpus),
        ("mems", asked.cpuset_mems),
    ):
        if value:
            cpu[key] = value
    return cpu


def _memory(asked: ContainerResources) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    if asked.memory_bytes:
        memory["limit"] = asked.memory_bytes
        memory["swap"] = 2 * asked.memory_bytes  # as much swap as memory, unless it is said
    if asked.memory_swap_bytes:
        memory["swap"] = asked.memory_swap_bytes
    if asked.memory_reservation_bytes:
        memory["reservation"] = asked.memory_reservation_bytes
    if asked.HasField("memory_swappiness") and asked.memory_swappiness >= 0:
        memory["swappiness"] = asked.memory_swappiness
    if asked.oom_kill_disable:
        memory["disableOOMKiller"] = True
    return memory


def _pids(asked: ContainerResources) -> dict[str, Any]:
    return {"limit": asked.pids_limit} if asked.pids_limit else {}


def _block(asked: ContainerResources) -> dict[str, Any]:
    block: dict[str, Any] = {}
    if asked.blkio_weight:
        block["weight"] = asked.blkio_weight
    if asked.device_weight:
        block["weightDevice"] = [
            {**_numbers(entry), "weight": entry.rate} for entry in asked.device_weight
        ]
    for field, key in THROTTLES.items():
        entries: Iterable[DeviceThrottle] = getattr(asked, field)
        if entries:
            block[key] = [{**_numbers(entry), "rate": entry.rate} for entry in entries]
    return block


def _numbers(entry: DeviceThrottle) -> dict[str, int]:
    try:
        status = os.stat(entry.path)  # noqa: PTH116
    except OSError as error:
        raise InvalidSpec(f"device {entry.path!r}: {error.strerror}") from error
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidSpec(f"device {entry.path!r}: is not a block device")
    return {"major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev)}


def check(asked: ContainerResources) -> None:
    """Raise InvalidSpec for limits that contradict each other or no kernel takes."""
    _check_memory(asked)
    _check_cpu(asked)
    if asked.blkio_weight and not 10 <= asked.blkio_weight <= 1000:
        raise InvalidSpec("Range of blkio weight is from 10 to 1000")
    if asked.pids_limit < -1:
        raise InvalidSpec(f"--pids-limit {asked.pids_limit}: must be -1 (unlimited) or more")


def _check_memory(asked: ContainerResources) -> None:
    limit, reserved = asked.memory_bytes, asked.memory_reservation_bytes
    swap = asked.memory_swap_bytes
    if limit < 0 or reserved < 0:
        raise InvalidSpec("memory limits must not be negative")
    if limit and limit < MIN_MEMORY_BYTES:
        raise InvalidSpec("Minimum memory limit allowed is 6MB")
    if swap > 0 and not limit:
        raise InvalidSpec("You should always set the Memory limit when using Memoryswap limit")
    if 0 < swap < limit:
        raise InvalidSpec("Minimum memoryswap limit should be larger than memory limit")
    if swap < -1:
        raise InvalidSpec(f"--memory-swap {swap}: must be -1 (unlimited) or more")
    if limit and reserved > limit:
        raise InvalidSpec("Minimum memory limit can not be less than memory reservation limit")
    if asked.HasField("memory_swappiness") and not -1 <= asked.memory_swappiness <= 100:
        raise InvalidSpec(
            f"Invalid value: {asked.memory_swappiness}, valid memory swappiness range is 0-100"
        )


def _check_cpu(asked: ContainerResources) -> None:
    available = len(os.sched_getaffinity(0))
    if asked.nano_cpus and (asked.cpu_quota_us or asked.cpu_period_us):
        raise InvalidSpec(
            "Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set"
        )
    if asked.nano_cpus < 0 or asked.nano_cpus > available * NANO:
        raise InvalidSpec(
            f"Range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs "
            "available"
        )
    if asked.cpu_shares < 0:
        raise InvalidSpec(f"invalid CPU shares ({asked.cpu_shares}): value must be positive")
    if asked.cpu_period_us and not 1000 <= asked.cpu_period_us <= 1_000_000:
        raise InvalidSpec("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s")
    if asked.cpu_quota_us > 0 and asked.cpu_quota_us < MIN_QUOTA_US:
        raise InvalidSpec("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    _check_set("--cpuset-cpus", asked.cpuset_cpus, "/sys/devices/system/cpu/online")
    _check_set("--cpuset-mems", asked.cpuset_mems, "/sys/devices/system/node/online")


def _check_set(where: str, text: str, online: str) -> None:
    if not text:
        return
    wanted, available = _members(text), _online(online)
    if wanted is None:
        raise InvalidSpec(f"{where} {text[:60]!r}: expected numbers and ranges, such as 0-2,4")
    if available and wanted - available:
        listed = ",".join(str(number) for number in sorted(available))
        raise InvalidSpec(f"{where} {text[:60]!r}: this host has {listed}")


def _members(text: str) -> set[int] | None:
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(end.isascii() and end.isdigit() and len(end) < 6 for end in ends):
            return None
        numbers.update(range(int(ends[0]), int(ends[1]) + 1))
    return numbers


def _online(path: str) -> set[int]:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123
            return _members(file.read().strip()) or set()
    except OSError:
        return set()


def merge(current: ContainerResources, changes: ContainerResources) -> ContainerResources:
    """`current` with what `changes` says; its zero and unset fields stay as they are."""
    merged = ContainerResources()
    merged.CopyFrom(current)
    for descriptor, _ in changes.ListFields():
        merged.ClearField(descriptor.name)  # type: ignore[arg-type]
    merged.MergeFrom(changes)
    return merged
