"""What of containers depends on the version."""

from swarmlite.gateway.versions import Field, table

_OF_BRIDGE = (
    "Bridge",
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "HairpinMode",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "LinkLocalIPv6Address",
    "LinkLocalIPv6PrefixLen",
    "MacAddress",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
)
_PLACES = (
    Field("NetworkSettings.Networks.*.DNSNames", since=44),
    Field("NetworkSettings.Networks.*.DriverOpts", since=32),
    Field("NetworkSettings.Networks.*.GwPriority", since=48),
)

INSPECT = table(
    "container",
    *(Field(f"NetworkSettings.{name}", until=51) for name in _OF_BRIDGE),
    *_PLACES,
    Field("Config.Healthcheck.StartInterval", since=44),
    Field("Config.Healthcheck.StartPeriod", since=29),
    Field("Config.OnBuild", until=51),
    Field("Config.StopTimeout", since=25),
    Field("HostConfig.Annotations", since=43),
    Field("HostConfig.AutoRemove", since=25),
    Field("HostConfig.CgroupnsMode", since=41),
    Field("HostConfig.DeviceRequests", since=40),
    Field("HostConfig.Mounts.*.BindOptions.CreateMountpoint", since=42),
    Field("HostConfig.Mounts.*.BindOptions.NonRecursive", since=40),
    Field("HostConfig.Mounts.*.BindOptions.ReadOnlyForceRecursive", since=44),
    Field("HostConfig.Mounts.*.BindOptions.ReadOnlyNonRecursive", since=44),
    Field("HostConfig.Mounts.*.ImageOptions", since=48),
    Field("HostConfig.Mounts.*.TmpfsOptions.Options", since=46),
    Field("HostConfig.Mounts.*.VolumeOptions.Subpath", since=45),
    Field("Platform", since=32),
)
SUMMARY = table(
    "container.summary",
    Field("*.Health", since=52),
    Field("*.HostConfig.Annotations", since=46),
    *(Field(f"*.{place.path}", place.since, place.until) for place in _PLACES),
)
STATS = table(
    "container.stats",
    Field("os_type", since=52),
)
