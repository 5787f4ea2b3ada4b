"""A host as Docker's /info shows it."""

from __future__ import annotations

from datetime import UTC, datetime

from swarmlite.docker.services import generic
from swarmlite.docker.values import Json
from swarmlite.model import units
from swarmlite.proto.host_pb2 import HostInfo

_ABLE: Json = dict.fromkeys(
    (
        "MemoryLimit",
        "SwapLimit",
        "CpuCfsPeriod",
        "CpuCfsQuota",
        "CPUShares",
        "CPUSet",
        "PidsLimit",
        "IPv4Forwarding",
        "OomKillDisable",
        "BridgeNfIptables",
        "BridgeNfIp6tables",
    ),
    True,
)
"""What kernels that swarmlite runs on can do; the host's own warnings say what one lacks."""


def info(value: HostInfo) -> Json:
    """Everything of a host, and its place in a swarm."""
    described = value.description
    return {
        "ID": value.engine_id,
        "Containers": total(value),
        "ContainersRunning": value.containers_running,
        "ContainersPaused": value.containers_paused,
        "ContainersStopped": value.containers_stopped,
        "Images": value.images,
        "Driver": value.storage_driver,
        "Plugins": {
            "Volume": ["local"],
            "Network": list(value.network_drivers),
            "Authorization": None,
            "Log": list(value.log_drivers),
        },
        "DriverStatus": [],
        "LoggingDriver": "json-file",
        **_ABLE,
        # Of version 1 of cgroups; what went with 1.42 and 1.52 is the gateway's to leave out.
        "KernelMemory": value.cgroup_version != "v2",
        "KernelMemoryTCP": value.cgroup_version != "v2",
        "Debug": False,
        "NFd": 0,
        "NGoroutines": 0,
        "NEventsListener": 0,
        "SystemTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "OSVersion": "",
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "InsecureRegistryCIDRs": [],
            "IndexConfigs": {},
            "Mirrors": None,
        },
        "GenericResources": generic(described.resources.generic) or None,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "ExperimentalBuild": False,
        "Runtimes": {"swarmlite": {"path": "swarmlite-runtime"}},
        "DefaultRuntime": "swarmlite",
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "swarmlite",
        "ContainerdCommit": {"ID": "", "Expected": ""},
        "RuncCommit": {"ID": "", "Expected": ""},
        "InitCommit": {"ID": "", "Expected": ""},
        "DefaultAddressPools": [],
        "CDISpecDirs": [],
        "DiscoveredDevices": [],
        "FirewallBackend": {"Driver": "nftables"},
        "CgroupDriver": "cgroupfs",
        # Docker knows two; hybrid hosts have their controllers where version 1 has them.
        "CgroupVersion": "2" if value.cgroup_version == "v2" else "1",
        "ServerVersion": described.engine.engine_version,
        "KernelVersion": described.kernel_version,
        "OperatingSystem": described.os_name,
        "OSType": described.platform.os,
        "Architecture": described.platform.architecture,
        "NCPU": described.resources.nano_cpus // units.SECOND,
        "MemTotal": described.resources.memory_bytes,
        "Name": described.hostname,
        "DockerRootDir": value.state_dir,
        "SecurityOptions": list(value.security_options),
        "Labels": [f"{key}={text}" for key, text in sorted(described.engine.labels.items())],
        "Capabilities": list(described.engine.capabilities),
        "Warnings": list(value.warnings) or None,
        "Swarm": swarm(value),
    }


def swarm(value: HostInfo) -> Json:
    """The place in a swarm."""
    return {
        "NodeID": value.node_id,
        "LocalNodeState": value.swarm_state or "inactive",
        "ControlAvailable": value.manager,
        "Error": value.error,
        "RemoteManagers": [{"Addr": m.addr} for m in value.managers] or None,
        "Cluster": {"ID": value.cluster_id},
    }


def total(value: HostInfo) -> int:
    """Containers in whatever state."""
    return value.containers_running + value.containers_paused + value.containers_stopped
