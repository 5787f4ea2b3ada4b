"""What of a host's own answers depends on the version."""

from swarmlite.gateway.versions import Field, table

VERSION = table(
    "version",
    Field("Components", since=35),
    Field("Platform", since=35),
)
