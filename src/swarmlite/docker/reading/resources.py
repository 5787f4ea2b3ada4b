"""Limits, of a container's HostConfig and of an update."""

from __future__ import annotations

from typing import Any

from swarmlite.docker.fields import Fields
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerResources, ContainerRestartPolicy

_NUMBERS = {
    "NanoCpus": "nano_cpus",
    "CpuShares": "cpu_shares",
    "CpuPeriod": "cpu_period_us",
    "CpuQuota": "cpu_quota_us",
    "Memory": "memory_bytes",
    "MemoryReservation": "memory_reservation_bytes",
    "PidsLimit": "pids_limit",
    "BlkioWeight": "blkio_weight",
    "CpuRealtimePeriod": "cpu_rt_period_us",
    "CpuRealtimeRuntime": "cpu_rt_runtime_us",
}
_TEXTS = {
    "CpusetCpus": "cpuset_cpus",
    "CpusetMems": "cpuset_mems",
    "CgroupParent": "cgroup_parent",
}
_THROTTLES = {
    "BlkioDeviceReadBps": ("device_read_bps", "Rate"),
    "BlkioDeviceWriteBps": ("device_write_bps", "Rate"),
    "BlkioDeviceReadIOps": ("device_read_iops", "Rate"),
    "BlkioDeviceWriteIOps": ("device_write_iops", "Rate"),
    "BlkioWeightDevice": ("device_weight", "Weight"),
}
POLICIES = {
    "": ContainerRestartPolicy.NO,
    "no": ContainerRestartPolicy.NO,
    "on-failure": ContainerRestartPolicy.ON_FAILURE,
    "always": ContainerRestartPolicy.ALWAYS,
    "unless-stopped": ContainerRestartPolicy.UNLESS_STOPPED,
}


def resources(fields: Fields) -> ContainerResources:
    """Every limit that is said; a zero says none."""
    made = ContainerResources()
    for key, name in _NUMBERS.items():
        _set(made, name, fields.number(key), fields, key)
    # Whatever is negative has always been taken for no limit.
    made.pids_limit = max(made.pids_limit, -1)
    for key, name in _TEXTS.items():
        setattr(made, name, fields.text(key))
    if fields.number("MemorySwap"):
        made.memory_swap_bytes = fields.number("MemorySwap")
    # -1 is how older clients say that nothing was said.
    if fields.number("MemorySwappiness", -1) != -1:
        made.memory_swappiness = fields.number("MemorySwappiness")
    made.oom_kill_disable = fields.flag("OomKillDisable")
    made.device_cgroup_rules.extend(fields.texts("DeviceCgroupRules"))
    for key, (name, rate) in _THROTTLES.items():
        for each in fields.objects(key):
            entry = getattr(made, name).add(path=each.text("Path"))
            _set(entry, "rate", each.number(rate), each, rate)
    return made


def changes(fields: Fields, minor: int) -> ContainerResources:
    """The limits of an update, of a client of 1.`minor`. Raises InvalidSpec."""
    made = resources(fields)
    if minor < 40:
        made.ClearField("pids_limit")
    elif fields.has("PidsLimit") and made.pids_limit <= 0:
        made.pids_limit = -1  # zero says here what it does not say in a creation: no limit
    if minor < 55:
        for name, _ in _THROTTLES.values():
            made.ClearField(name)  # type: ignore[arg-type]
    return made


def _set(message: Any, name: str, value: int, fields: Fields, key: str) -> None:
    try:
        setattr(message, name, value)
    except ValueError as error:
        raise fields.wrong(key, f"{value} is out of range") from error


def restart_policy(fields: Fields) -> ContainerRestartPolicy:
    """RestartPolicy. Raises InvalidSpec for an unknown name."""
    name, retries = fields.text("Name"), fields.number("MaximumRetryCount")
    if name not in POLICIES:
        raise InvalidSpec(
            f"invalid restart policy: unknown policy '{name[:40]}'; use one of 'no', 'always',"
            " 'on-failure', or 'unless-stopped'"
        )
    if retries < 0:
        raise InvalidSpec("invalid restart policy: maximum retry count cannot be negative")
    return ContainerRestartPolicy(condition=POLICIES[name], max_retries=min(retries, 2**31))
