"""A volume as Docker's inspect shows it."""

from __future__ import annotations

from swarmlite.docker.values import Json, time
from swarmlite.proto.volumes_pb2 import LocalVolume

ANONYMOUS_LABEL = "com.docker.volume.anonymous"


def inspect(value: LocalVolume) -> Json:
    """Everything of a volume."""
    labels = dict(value.labels)
    if value.anonymous:
        labels.setdefault(ANONYMOUS_LABEL, "")
    return {
        "CreatedAt": time(value.created),
        "Driver": value.driver or "local",
        "Labels": dict(sorted(labels.items())) or None,
        "Mountpoint": value.mountpoint,
        "Name": value.name,
        "Options": dict(sorted(value.options.items())) or None,
        "Scope": "local",
    }


def usage(value: LocalVolume) -> Json:
    """A volume with its size and how many containers use it, as `/system/df` shows it."""
    return {
        **inspect(value),
        "UsageData": {"RefCount": len(value.used_by), "Size": value.size_bytes},
    }
