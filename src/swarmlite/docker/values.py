"""Scalars and small messages in Docker's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.proto.types_pb2 import Annotations, Driver, EndpointSpec, Meta, PortConfig

Json = dict[str, Any]
ZERO_TIME = "0001-01-01T00:00:00Z"


def compact(value: Mapping[str, Any]) -> Json:
    """Without the keys that are empty, as Go's omitempty leaves them out; False and 0 too."""
    return {key: item for key, item in value.items() if item or isinstance(item, _Kept)}


class _Kept(dict[str, Any]):
    """An object that stays though it is empty."""


def kept(**items: Any) -> Json:
    """A dict that `compact` keeps even when empty."""
    return _Kept(items)


def time(timestamp: Timestamp) -> str:
    """RFC 3339 with nanoseconds, as Go prints it."""
    if not timestamp.seconds and not timestamp.nanos:
        return ZERO_TIME
    fraction = f".{timestamp.nanos:09d}".rstrip("0").rstrip(".")
    return f"{_second(timestamp.seconds)}{fraction}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def go_time(timestamp: Timestamp) -> str:
    """As lists print a time: "2024-01-02 03:04:05 +0000 UTC", in this host's zone."""
    moment = datetime.fromtimestamp(timestamp.seconds).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S %z %Z")


def log_time(timestamp: Timestamp) -> str:
    """RFC 3339 with all nine digits, as lines of logs begin."""
    return f"{_second(timestamp.seconds)}.{timestamp.nanos:09d}Z"


def nanoseconds(duration: Duration) -> int:
    """A duration as Docker's JSON has it."""
    return duration.seconds * 1_000_000_000 + duration.nanos


def meta(value: Meta) -> Json:
    """Version, CreatedAt, UpdatedAt."""
    return {
        "Version": {"Index": value.version.index},
        "CreatedAt": time(value.created_at),
        "UpdatedAt": time(value.updated_at),
    }


def named(value: Annotations) -> Json:
    """Name and Labels."""
    return {"Name": value.name, "Labels": dict(sorted(value.labels.items()))}


def driver(value: Driver) -> Json:
    """Name and Options."""
    return compact({"Name": value.name, "Options": dict(sorted(value.options.items()))})


def word(name: str) -> str:
    """An enum's name as Docker spells it: "STOP_FIRST" is "stop-first"."""
    return name.lower().replace("_", "-")


def port(value: PortConfig) -> Json:
    """One published port."""
    return compact(
        {
            "Name": value.name,
            "Protocol": word(PortConfig.Protocol.Name(value.protocol)),
            "TargetPort": value.target_port,
            "PublishedPort": value.published_port,
            "PublishMode": word(PortConfig.PublishMode.Name(value.publish_mode)),
            "HostIP": value.host_ip,
        }
    )


def ports(values: Sequence[PortConfig]) -> list[Json]:
    """Published ports in their order."""
    return [port(value) for value in values]


def endpoint_spec(value: EndpointSpec) -> Json:
    """Mode and Ports."""
    return compact({"Mode": word(EndpointSpec.Mode.Name(value.mode)), "Ports": ports(value.ports)})
