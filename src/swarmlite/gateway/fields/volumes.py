"""What of a volume's answers depends on the version."""

from swarmlite.gateway.versions import Field, table

VOLUME = table("volume", Field("CreatedAt", since=29))
LIST = table("volume.list", Field("Volumes.*.CreatedAt", since=29))
