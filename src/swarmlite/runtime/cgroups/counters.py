"""What a control group has used, by the names that `client.Supervisor.stats` promises.

cpu_usage_ns, cpu_user_ns, cpu_system_ns, throttled_periods, cpu_throttled_ns; memory_bytes,
memory_limit_bytes (v1's largest number, or -1, without one), memory_inactive_file_bytes; pids,
pids_limit (-1 without one); block_read_bytes, block_write_bytes (0 on v1 where the container is in
no blkio group: it is when a limit on block devices was asked for); oom_kills. Each line of
memory.stat is there by its name behind `memory.`, and on v1 memory_max_usage_bytes.
"""

from __future__ import annotations

from swarmlite.runtime.cgroups import base


def of_v1(at: dict[str, str]) -> dict[str, int]:
    """`at`: the group's directory by controller."""
    cpuacct, memory, pids = (at.get(name, "") for name in ("cpuacct", "memory", "pids"))
    throttled = base.read_table(f"{at.get('cpu', '')}/cpu.stat")
    detail = base.read_table(f"{memory}/memory.stat")
    read, written = _v1_blocks(at.get("blkio", ""))
    return {
        "cpu_usage_ns": base.read_int(f"{cpuacct}/cpuacct.usage"),
        "cpu_user_ns": base.read_int(f"{cpuacct}/cpuacct.usage_user"),
        "cpu_system_ns": base.read_int(f"{cpuacct}/cpuacct.usage_sys"),
        "throttled_periods": throttled.get("nr_throttled", 0),
        "cpu_throttled_ns": throttled.get("throttled_time", 0),
        "memory_bytes": base.read_int(f"{memory}/memory.usage_in_bytes"),
        "memory_limit_bytes": base.read_int(f"{memory}/memory.limit_in_bytes"),
        "memory_inactive_file_bytes": detail.get("total_inactive_file", 0),
        "pids": base.read_int(f"{pids}/pids.current"),
        "pids_limit": base.read_int(f"{pids}/pids.max"),
        "block_read_bytes": read,
        "block_write_bytes": written,
        "oom_kills": base.read_table(f"{memory}/memory.oom_control").get("oom_kill", 0),
        "memory_max_usage_bytes": base.read_int(f"{memory}/memory.max_usage_in_bytes"),
        **{f"memory.{name}": value for name, value in detail.items()},
    }


def _v1_blocks(blkio: str) -> tuple[int, int]:
    """Lines `8:0 Read 4096`, from whichever layer counts on this kernel."""
    for name in ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"):
        totals = {"Read": 0, "Write": 0}
        for line in base.read(f"{blkio}/{name}").splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in totals:
                totals[words[1]] += int(words[2])
        if any(totals.values()):
            return totals["Read"], totals["Write"]
    return 0, 0


def of_v2(directory: str) -> dict[str, int]:
    """Of the group's one directory."""
    cpu = base.read_table(f"{directory}/cpu.stat")
    detail = base.read_table(f"{directory}/memory.stat")
    read, written = _v2_blocks(directory)
    return {
        "cpu_usage_ns": cpu.get("usage_usec", 0) * 1000,
        "cpu_user_ns": cpu.get("user_usec", 0) * 1000,
        "cpu_system_ns": cpu.get("system_usec", 0) * 1000,
        "throttled_periods": cpu.get("nr_throttled", 0),
        "cpu_throttled_ns": cpu.get("throttled_usec", 0) * 1000,
        "memory_bytes": base.read_int(f"{directory}/memory.current"),
        "memory_limit_bytes": base.read_int(f"{directory}/memory.max"),
        "memory_inactive_file_bytes": detail.get("inactive_file", 0),
        "pids": base.read_int(f"{directory}/pids.current"),
        "pids_limit": base.read_int(f"{directory}/pids.max"),
        "block_read_bytes": read,
        "block_write_bytes": written,
        "oom_kills": base.read_table(f"{directory}/memory.events").get("oom_kill", 0),
        **{f"memory.{name}": value for name, value in detail.items()},
    }


def _v2_blocks(directory: str) -> tuple[int, int]:
    """Lines `8:0 rbytes=4096 wbytes=0 ...`."""
    totals = {"rbytes": 0, "wbytes": 0}
    for line in base.read(f"{directory}/io.stat").splitlines():
        for word in line.split()[1:]:
            name, _, number = word.partition("=")
            if name in totals and number.isdecimal():
                totals[name] += int(number)
    return totals["rbytes"], totals["wbytes"]
