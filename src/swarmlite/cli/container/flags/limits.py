"""Flags of what a container may use: processors, memory, processes, block devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swarmlite.cli.flagtypes import BYTES, CPUS, SWAP, SWAPPINESS
from swarmlite.cli.lazy import INTEGER, parsed
from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.stack.syntax import limits

from .table import Row, listed, text


def _field(name: str) -> Callable[[ContainerConfig, Any], None]:
    return text(f"resources.{name}")


def _throttle(name: str) -> Callable[[ContainerConfig, Any], None]:
    def apply(config: ContainerConfig, values: Any) -> None:
        for path, rate in values:
            getattr(config.resources, name).add(path=path, rate=rate)

    return apply


def _swappiness(config: ContainerConfig, value: int) -> None:
    if value >= 0:
        config.resources.memory_swappiness = value


def _rate(name: str, field: str, parse: Callable[[str], Any], help: str) -> Row:
    return Row((name,), _throttle(field), listed(parse), help, many=True)


UPDATABLE = [
    Row(("--cpus",), _field("nano_cpus"), CPUS, "Number of CPUs"),
    Row(("-c", "--cpu-shares"), _field("cpu_shares"), INTEGER, "CPU shares (relative weight)"),
    Row(("--cpu-period",), _field("cpu_period_us"), INTEGER, "Limit CPU CFS period"),
    Row(("--cpu-quota",), _field("cpu_quota_us"), INTEGER, "Limit CPU CFS quota"),
    Row(
        ("--cpu-rt-period",),
        _field("cpu_rt_period_us"),
        INTEGER,
        "Limit CPU real-time period in microseconds",
    ),
    Row(
        ("--cpu-rt-runtime",),
        _field("cpu_rt_runtime_us"),
        INTEGER,
        "Limit CPU real-time runtime in microseconds",
    ),
    Row(
        ("--cpuset-cpus",),
        _field("cpuset_cpus"),
        parsed(limits.cpuset),
        "CPUs in which to allow execution (0-3, 0,1)",
    ),
    Row(
        ("--cpuset-mems",),
        _field("cpuset_mems"),
        parsed(limits.cpuset),
        "MEMs in which to allow execution (0-3, 0,1)",
    ),
    Row(("-m", "--memory"), _field("memory_bytes"), BYTES, "Memory limit"),
    Row(("--memory-reservation",), _field("memory_reservation_bytes"), BYTES, "Memory soft limit"),
    Row(
        ("--memory-swap",),
        _field("memory_swap_bytes"),
        SWAP,
        "Limit of memory and swap together: -1 to enable unlimited swap",
    ),
    Row(
        ("--pids-limit",),
        _field("pids_limit"),
        INTEGER,
        "Tune container pids limit (set -1 for unlimited)",
    ),
    Row(
        ("--blkio-weight",),
        _field("blkio_weight"),
        parsed(limits.blkio_weight, "uint16"),
        "Block IO (relative weight), between 10 and 1000, or 0 to disable",
    ),
]
"""What `update` changes too."""

ROWS = [
    *UPDATABLE,
    Row(
        ("--memory-swappiness",),
        _swappiness,
        SWAPPINESS,
        "Tune container memory swappiness (0 to 100)",
    ),
    Row(("--oom-kill-disable",), _field("oom_kill_disable"), bool, "Disable OOM Killer"),
    Row(("--cgroup-parent",), _field("cgroup_parent"), help="Optional parent cgroup"),
    _rate(
        "--blkio-weight-device",
        "device_weight",
        limits.device_weight,
        "Block IO weight (relative device weight)",
    ),
    _rate(
        "--device-read-bps",
        "device_read_bps",
        limits.device_rate,
        "Limit read rate (bytes per second) from a device",
    ),
    _rate(
        "--device-write-bps",
        "device_write_bps",
        limits.device_rate,
        "Limit write rate (bytes per second) to a device",
    ),
    _rate(
        "--device-read-iops",
        "device_read_iops",
        limits.device_count,
        "Limit read rate (IO per second) from a device",
    ),
    _rate(
        "--device-write-iops",
        "device_write_iops",
        limits.device_count,
        "Limit write rate (IO per second) to a device",
    ),
]
