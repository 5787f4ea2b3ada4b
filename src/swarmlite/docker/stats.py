"""What a container uses, as Docker's stats tell it."""

from __future__ import annotations

from swarmlite.docker.values import ZERO_TIME, Json, time
from swarmlite.proto.containers_pb2 import ContainerStats


def stats(now: ContainerStats, before: ContainerStats | None) -> Json:
    """One reading; `before` is what rates are counted from."""
    before_cpu = _cpu(before) if before is not None and before.running else _cpu(None)
    result: Json = {
        "id": now.id,
        "name": f"/{now.name}",
        "os_type": "linux",
        "read": time(now.read) if now.running else ZERO_TIME,
        "preread": time(before.read) if before is not None and before.running else ZERO_TIME,
        "pids_stats": {"current": now.pids_current, "limit": now.pids_limit} if now.running else {},
        "blkio_stats": _block(now),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now),
        "precpu_stats": before_cpu,
        "memory_stats": _memory(now),
    }
    if now.running:
        result["networks"] = {
            each.name: {
                "rx_bytes": each.rx_bytes,
                "rx_packets": each.rx_packets,
                "rx_errors": each.rx_errors,
                "rx_dropped": each.rx_dropped,
                "tx_bytes": each.tx_bytes,
                "tx_packets": each.tx_packets,
                "tx_errors": each.tx_errors,
                "tx_dropped": each.tx_dropped,
            }
            for each in now.interfaces
        }
    return result


def _cpu(value: ContainerStats | None) -> Json:
    if value is None or not value.running:
        value = ContainerStats()
    return {
        "cpu_usage": {
            "total_usage": value.cpu_usage_ns,
            "usage_in_kernelmode": value.cpu_system_ns,
            "usage_in_usermode": value.cpu_user_ns,
        },
        **({"system_cpu_usage": value.host_cpu_usage_ns} if value.host_cpu_usage_ns else {}),
        **({"online_cpus": value.online_cpus} if value.online_cpus else {}),
        "throttling_data": {
            "periods": 0,
            "throttled_periods": value.throttled_periods,
            "throttled_time": value.throttled_ns,
        },
    }


def _memory(value: ContainerStats) -> Json:
    if not value.running:
        return {}
    idle = value.memory_inactive_file_bytes
    return {
        "usage": value.memory_usage_bytes,
        # Both names: clients take the first off on cgroup v2, the second on v1.
        "stats": {
            **dict(sorted(value.memory_detail.items())),
            "inactive_file": idle,
            "total_inactive_file": idle,
        },
        **({"max_usage": value.memory_max_usage_bytes} if value.memory_max_usage_bytes else {}),
        "limit": value.memory_limit_bytes,
    }


def _block(value: ContainerStats) -> Json:
    entries = None
    if value.running:
        entries = [
            {"major": 0, "minor": 0, "op": op, "value": count}
            for op, count in (
                ("read", value.block_read_bytes),
                ("write", value.block_write_bytes),
            )
        ]
    return {
        "io_service_bytes_recursive": entries,
        "io_serviced_recursive": None,
        "io_queue_recursive": None,
        "io_service_time_recursive": None,
        "io_wait_time_recursive": None,
        "io_merged_recursive": None,
        "io_time_recursive": None,
        "sectors_recursive": None,
    }
