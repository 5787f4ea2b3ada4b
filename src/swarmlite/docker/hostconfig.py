"""HostConfig: what of a container depends on its host."""

from __future__ import annotations

from collections.abc import Iterable

from swarmlite.docker import mounts, ports
from swarmlite.docker.values import Json
from swarmlite.proto.containers_pb2 import (
    ContainerConfig,
    ContainerResources,
    ContainerRestartPolicy,
    DeviceThrottle,
)
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount, Privileges

DEFAULT_SHM_BYTES = 64 * 1024 * 1024
MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def of(config: ContainerConfig) -> Json:
    """The whole of it."""
    spec = config.spec
    open_paths = spec.privileged or "systempaths=unconfined" in spec.security_options
    return {
        **_binds(spec),
        "ContainerIDFile": "",
        "LogConfig": {
            "Type": config.log_driver.name or "json-file",
            "Config": dict(sorted(config.log_driver.options.items())),
        },
        "NetworkMode": config.network_mode or "default",
        "PortBindings": ports.asked(config.ports),
        "RestartPolicy": restart(config.restart),
        "AutoRemove": config.auto_remove,
        "VolumeDriver": config.volume_driver,
        "VolumesFrom": list(config.volumes_from) or None,
        "ConsoleSize": [config.console_height, config.console_width],
        **({"Annotations": dict(config.annotations)} if config.annotations else {}),
        "CapAdd": list(spec.capability_add) or None,
        "CapDrop": list(spec.capability_drop) or None,
        "CgroupnsMode": spec.cgroupns_mode or "private",
        "Dns": list(spec.dns_config.nameservers) or None,
        "DnsOptions": list(spec.dns_config.options) or None,
        "DnsSearch": list(spec.dns_config.search) or None,
        "ExtraHosts": [_extra_host(line) for line in spec.hosts] or None,
        "GroupAdd": list(spec.groups) or None,
        "IpcMode": spec.ipc_mode or "private",
        "Cgroup": "",
        "Links": [link for e in config.networks for link in e.links] or None,
        "OomScoreAdj": spec.oom_score_adj,
        "PidMode": spec.pid_mode,
        "Privileged": spec.privileged,
        "PublishAllPorts": config.publish_all,
        "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": security_options(spec) or None,
        **({"Tmpfs": _tmpfs(spec)} if _tmpfs(spec) else {}),
        "UTSMode": spec.uts_mode,
        "UsernsMode": spec.userns_mode,
        "ShmSize": spec.shm_size_bytes or DEFAULT_SHM_BYTES,
        **({"Sysctls": dict(sorted(spec.sysctls.items()))} if spec.sysctls else {}),
        "Runtime": "runc",  # the name by which clients ask for the default
        "Isolation": spec.isolation,
        **resources(config.resources),
        "Devices": [device(text) for text in spec.devices],
        "Ulimits": [{"Name": u.name, "Hard": u.hard, "Soft": u.soft} for u in spec.ulimits],
        **({"Mounts": _mounts(spec)} if _mounts(spec) else {}),
        **({"Init": spec.init} if spec.HasField("init") else {}),
        "MaskedPaths": None if open_paths else list(MASKED),
        "ReadonlyPaths": None if open_paths else list(READONLY),
    }


def resources(value: ContainerResources) -> Json:
    """Limits, a zero where there is none."""
    swap = value.memory_swap_bytes if value.HasField("memory_swap_bytes") else 0
    return {
        "CpuShares": value.cpu_shares,
        "Memory": value.memory_bytes,
        "NanoCpus": value.nano_cpus,
        "CgroupParent": value.cgroup_parent,
        "BlkioWeight": value.blkio_weight,
        "BlkioWeightDevice": [{"Path": d.path, "Weight": d.rate} for d in value.device_weight],
        "BlkioDeviceReadBps": _throttles(value.device_read_bps),
        "BlkioDeviceWriteBps": _throttles(value.device_write_bps),
        "BlkioDeviceReadIOps": _throttles(value.device_read_iops),
        "BlkioDeviceWriteIOps": _throttles(value.device_write_iops),
        "CpuPeriod": value.cpu_period_us,
        "CpuQuota": value.cpu_quota_us,
        "CpuRealtimePeriod": value.cpu_rt_period_us,
        "CpuRealtimeRuntime": value.cpu_rt_runtime_us,
        "CpusetCpus": value.cpuset_cpus,
        "CpusetMems": value.cpuset_mems,
        "DeviceCgroupRules": list(value.device_cgroup_rules) or None,
        "DeviceRequests": None,
        "MemoryReservation": value.memory_reservation_bytes,
        "MemorySwap": swap,
        "MemorySwappiness": value.memory_swappiness
        if value.HasField("memory_swappiness")
        else None,
        "OomKillDisable": value.oom_kill_disable,
        "PidsLimit": value.pids_limit if value.pids_limit > 0 else None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def restart(value: ContainerRestartPolicy) -> Json:
    """Name and MaximumRetryCount."""
    name = ContainerRestartPolicy.Condition.Name(value.condition).lower().replace("_", "-")
    return {"Name": name, "MaximumRetryCount": value.max_retries}


def security_options(spec: ContainerSpec) -> list[str]:
    """As `--security-opt` was given; a seccomp profile of its own as its text."""
    privileges = spec.privileges
    options = list(spec.security_options)
    if privileges.no_new_privileges:
        options.append("no-new-privileges")
    if privileges.seccomp.mode == Privileges.SeccompOpts.UNCONFINED:
        options.append("seccomp=unconfined")
    elif privileges.seccomp.mode == Privileges.SeccompOpts.CUSTOM:
        options.append(f"seccomp={privileges.seccomp.profile.decode(errors='replace')}")
    if privileges.apparmor.mode == Privileges.AppArmorOpts.DISABLED:
        options.append("apparmor=unconfined")
    return options


def device(text: str) -> Json:
    """SOURCE[:TARGET][:PERMISSIONS] in its parts."""
    parts = text.split(":")
    permissions = parts.pop() if len(parts) > 1 and not parts[-1].startswith("/") else "rwm"
    return {
        "PathOnHost": parts[0],
        "PathInContainer": parts[-1],
        "CgroupPermissions": permissions,
    }


def _throttles(values: Iterable[DeviceThrottle]) -> list[Json]:
    return [{"Path": value.path, "Rate": value.rate} for value in values]


def _extra_host(line: str) -> str:
    """ "IP name" as Docker's "name:IP"."""
    address, _, name = line.partition(" ")
    return f"{name.strip()}:{address}"


def _short(mount: Mount) -> bool:
    """Whether `-v` gave it: a bind that is made where it is missing, a volume by name."""
    if mount.type == Mount.BIND:
        return mount.bind_options.create_mountpoint
    options = mount.volume_options
    plain = not (options.labels or options.subpath or options.driver_config.name)
    return mount.type == Mount.VOLUME and bool(mount.source) and plain


def _binds(spec: ContainerSpec) -> Json:
    return {"Binds": [_bind(mount) for mount in spec.mounts if _short(mount)] or None}


def _bind(mount: Mount) -> str:
    """As it was given where it was: Ansible compares the words."""
    if mount.bind_text:
        return f"{mount.source}:{mount.target}:{mount.bind_text}"
    options = []
    if mount.readonly:
        options.append("ro")
    if mount.volume_options.nocopy:
        options.append("nocopy")
    if mount.bind_options.propagation:
        name = Mount.BindOptions.Propagation.Name(mount.bind_options.propagation).lower()
        options.append(name)
    suffix = f":{','.join(options)}" if options else ""
    return f"{mount.source}:{mount.target}{suffix}"


def _tmpfs(spec: ContainerSpec) -> dict[str, str]:
    return {
        mount.target: ",".join(mount.tmpfs_options.options)
        for mount in spec.mounts
        if mount.type == Mount.TMPFS and _by_flag(mount)
    }


def _by_flag(mount: Mount) -> bool:
    """Whether --tmpfs gave it and not --mount type=tmpfs."""
    return not (mount.tmpfs_options.size_bytes or mount.tmpfs_options.mode or mount.readonly)


def _mounts(spec: ContainerSpec) -> list[Json]:
    return [
        mounts.mount(mount)
        for mount in spec.mounts
        if not _short(mount)
        and not (mount.type == Mount.TMPFS and _by_flag(mount))
        and not (mount.type == Mount.VOLUME and not mount.source)
    ]
