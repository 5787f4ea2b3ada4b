"""An entry of the build cache as Docker's `/system/df` shows it."""

from __future__ import annotations

from swarmlite.docker.values import Json, time
from swarmlite.proto.build_pb2 import BuildCacheEntry


def usage(value: BuildCacheEntry) -> Json:
    """Everything of it."""
    return {
        "ID": value.id.removeprefix("sha256:")[:25],
        **({"Parents": [value.parent.removeprefix("sha256:")[:25]]} if value.parent else {}),
        "Type": value.type,
        "Description": value.description,
        "InUse": value.in_use,
        "Shared": value.shared,
        "Size": value.size_bytes,
        "CreatedAt": time(value.created),
        "LastUsedAt": time(value.last_used),
        "UsageCount": value.usage_count,
    }
