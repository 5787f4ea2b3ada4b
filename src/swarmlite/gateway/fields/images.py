"""What of an image's answers depends on the version."""

from swarmlite.gateway.versions import Field, table

# An image's Config was a container's whole configuration; what no image can say went with 1.50.
_OF_CONTAINERS = (
    "Hostname",
    "Domainname",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Image",
)

IMAGE = table(
    "image",
    Field("VirtualSize", until=43),
    Field("Container", until=44),
    Field("ContainerConfig", until=44),
    *(Field(f"Config.{name}", until=49) for name in _OF_CONTAINERS),
    Field("Descriptor", since=48),
    Field("Manifests", since=48),
    Field("Metadata", since=31),
)
SUMMARY = table(
    "image.summary",
    Field("*.VirtualSize", until=43),
    Field("*.Descriptor", since=48),
    Field("*.Manifests", since=47),
)
