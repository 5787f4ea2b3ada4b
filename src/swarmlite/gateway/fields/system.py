"""What of a host's own answers depends on the version."""

from swarmlite.gateway.versions import Field, table

VERSION = table(
    "version",
    Field("Components", since=35),
    Field("Platform", since=35),
)
EVENT = table(
    "event",
    Field("status", until=51),
    Field("id", until=51),
    Field("from", until=51),
)
INFO = table(
    "info",
    Field("BridgeNfIp6tables", until=49),
    Field("BridgeNfIptables", until=49),
    Field("CDISpecDirs", since=44),
    Field("CgroupVersion", since=41),
    *(Field(f"{each}Commit.Expected", until=48) for each in ("Containerd", "Init", "Runc")),
    Field("DefaultAddressPools", since=41),
    Field("DiscoveredDevices", since=50),
    Field("FirewallBackend", since=49),
    Field("KernelMemory", until=41),
    Field("KernelMemoryTCP", until=51),
)
