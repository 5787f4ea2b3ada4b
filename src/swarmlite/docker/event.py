"""An event as Docker's API streams it, and as `events` prints it."""

from __future__ import annotations

from datetime import datetime

from swarmlite.docker.values import Json
from swarmlite.proto.host_pb2 import HostEvent


def body(value: HostEvent) -> Json:
    """One event; containers and images have the fields of older versions too."""
    time = value.time
    result: Json = {}
    if value.type in ("container", "image"):
        result |= {"status": value.action, "id": value.actor_id}
        if value.type == "container":
            result["from"] = value.attributes.get("image", "")
    return {
        **result,
        "Type": value.type,
        "Action": value.action,
        "Actor": {"ID": value.actor_id, "Attributes": dict(sorted(value.attributes.items()))},
        "scope": value.scope or "local",
        "time": time.seconds,
        "timeNano": time.seconds * 1_000_000_000 + time.nanos,
    }


def line(value: HostEvent) -> str:
    """ "2024-01-02T03:04:05.000000006+00:00 container start ID (image=x, name=y)"."""
    local = datetime.fromtimestamp(value.time.seconds).astimezone()
    zone = local.strftime("%z")
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    stamp = f"{local:%Y-%m-%dT%H:%M:%S}.{value.time.nanos:09d}{zone}"
    said = ", ".join(f"{key}={text}" for key, text in sorted(value.attributes.items()))
    return f"{stamp} {value.type} {value.action} {value.actor_id}" + (f" ({said})" if said else "")
