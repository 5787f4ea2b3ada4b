"""Which controllers of v1 a spec's resources take, and what is written into their files.

Memory, quotas of cpu and devices have an order of their own and stand in `v1.py`.
"""

from __future__ import annotations

from swarmlite import errors

#: OCI's name -> file; a line is "MAJOR:MINOR RATE"
THROTTLES = {
    "throttleReadBpsDevice": "blkio.throttle.read_bps_device",
    "throttleWriteBpsDevice": "blkio.throttle.write_bps_device",
    "throttleReadIOPSDevice": "blkio.throttle.read_iops_device",
    "throttleWriteIOPSDevice": "blkio.throttle.write_iops_device",
}
Plain = tuple[str, str, object]  # controller, file, value
WhereThere = tuple[str, list[str], object, str]  # controller, files, value, what to call it


def controllers(resources: dict) -> list[str]:  # type: ignore[type-arg]
    """Those that are joined only when the resources ask for them."""
    cpu, network = resources.get("cpu") or {}, resources.get("network") or {}
    asked = {
        "cpuset": cpu.get("cpus") or cpu.get("mems"),
        "blkio": resources.get("blockIO"),
        "hugetlb": resources.get("hugepageLimits"),
        "rdma": resources.get("rdma"),
        "net_cls": network.get("classID"),
        "net_prio": network.get("priorities"),
    }
    return [name for name, wanted in asked.items() if wanted]


def plain(resources: dict) -> list[Plain]:  # type: ignore[type-arg]
    """What must be there; raises InvalidSpec."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    result: list[Plain] = []
    if memory.get("reservation"):
        result.append(("memory", "memory.soft_limit_in_bytes", memory["reservation"]))
    if memory.get("swappiness") is not None:
        result.append(("memory", "memory.swappiness", memory["swappiness"]))
    if memory.get("disableOOMKiller"):
        result.append(("memory", "memory.oom_control", 1))
    if cpu.get("shares"):
        result.append(("cpu", "cpu.shares", cpu["shares"]))
    for key in ("cpus", "mems"):
        if cpu.get(key):
            result.append(("cpuset", f"cpuset.{key}", cpu[key]))
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        result.append(("pids", "pids.max", limit if limit > 0 else "max"))
    for page in resources.get("hugepageLimits") or []:
        result.append(("hugetlb", f"hugetlb.{page_size(page)}.limit_in_bytes", int(page["limit"])))
    network = resources.get("network") or {}
    if network.get("classID"):
        result.append(("net_cls", "net_cls.classid", int(network["classID"])))
    for entry in network.get("priorities") or []:
        value = f"{entry['name']} {int(entry['priority'])}"
        result.append(("net_prio", "net_prio.ifpriomap", value))
    for device, value in rdma(resources):
        result.append(("rdma", "rdma.max", f"{device} {value}"))
    block = resources.get("blockIO") or {}
    for key, name in THROTTLES.items():
        for entry in block.get(key) or []:
            result.append(("blkio", name, f"{device_number(entry)} {int(entry['rate'])}"))
    return result


def where_there(resources: dict) -> list[WhereThere]:  # type: ignore[type-arg]
    """What a kernel may not have any more, or not yet: then it is left out with a warning."""
    block, memory = resources.get("blockIO") or {}, resources.get("memory") or {}
    cpu = resources.get("cpu") or {}
    result: list[WhereThere] = []
    weights = {"weight": ["blkio.weight", "blkio.bfq.weight"], "leafWeight": ["blkio.leaf_weight"]}
    for key, names in weights.items():
        if block.get(key):
            result.append(("blkio", names, block[key], f"blockIO.{key}"))
    for entry in block.get("weightDevice") or []:
        number = device_number(entry)
        for key, names in weights.items():
            if entry.get(key):
                files = [f"{name}_device" for name in names]
                result.append(("blkio", files, f"{number} {entry[key]}", "blockIO.weightDevice"))
    for key, name in (("kernel", "kmem"), ("kernelTCP", "kmem.tcp")):
        if memory.get(key):
            files = [f"memory.{name}.limit_in_bytes"]
            result.append(("memory", files, memory[key], f"memory.{key}"))
    for key, name in (
        ("burst", "cpu.cfs_burst_us"), ("idle", "cpu.idle"),
        ("realtimePeriod", "cpu.rt_period_us"), ("realtimeRuntime", "cpu.rt_runtime_us"),
    ):  # fmt: skip
        if cpu.get(key):
            result.append(("cpu", [name], cpu[key], f"cpu.{key}"))
    if resources.get("unified"):
        raise errors.FailedPrecondition(
            f"linux.resources.unified: {', '.join(resources['unified'])}: this host has cgroups v1"
        )
    return result


def page_size(page: dict) -> str:  # type: ignore[type-arg]
    """As the kernel names it; raises InvalidSpec."""
    size = str(page.get("pageSize"))
    if size[-2:] not in ("KB", "MB", "GB") or not size[:-2].isdigit():
        raise errors.InvalidSpec(f"linux.resources.hugepageLimits: page size {size!r}: 2MB, 1GB...")
    return size


def device_number(entry: dict) -> str:  # type: ignore[type-arg]
    """MAJOR:MINOR."""
    return f"{int(entry['major'])}:{int(entry['minor'])}"


def rdma(resources: dict) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    """Devices and what rdma.max says of each."""
    result = []
    for device, limits in (resources.get("rdma") or {}).items():
        words = [
            f"{name}={int(limits[key])}"
            for key, name in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
            if limits.get(key) is not None
        ]
        result.append((str(device), " ".join(words)))
    return result
