"""A container as Docker's list shows it."""

from __future__ import annotations

from swarmlite.docker import container, ports
from swarmlite.docker.statuses import status
from swarmlite.docker.values import Json
from swarmlite.proto.containers_pb2 import Container, ContainerState, Health
from swarmlite.proto.types_pb2 import PortConfig

_ALIVE = (ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING)


def summary(value: Container, now: float, *, size: bool = False) -> Json:
    """One entry of /containers/json; `now` is what its status counts from."""
    return {**lasting(value, size=size), "Status": status(value.state, now)}


def lasting(value: Container, *, size: bool = False) -> Json:
    """The entry without its Status, which changes with the clock."""
    config = value.config
    result: Json = {
        "Id": value.id,
        "Names": [f"/{config.name}"],
        "Image": config.spec.image,
        "ImageID": value.image_id,
        "Command": " ".join(value.args),
        "Created": value.created.seconds,
        "Ports": _ports(value) if value.state.status in _ALIVE else [],
        "Labels": dict(sorted(value.labels.items())),
        "State": container.state_word(value.state),
        "Health": _health(value.state.health),
        "HostConfig": {
            "NetworkMode": config.network_mode or "default",
            **({"Annotations": dict(config.annotations)} if config.annotations else {}),
        },
        "NetworkSettings": {
            "Networks": {
                place.network_name: container.endpoint(place)
                for place in sorted(value.networks, key=lambda place: place.network_name)
            }
        },
        "Mounts": [container.mount_point(mount) for mount in value.mounts],
    }
    if size:
        result["SizeRw"] = value.size_rw_bytes
        result["SizeRootFs"] = value.size_root_fs_bytes
    return result


def _health(value: Health) -> Json:
    return {
        "Status": Health.Status.Name(value.status).lower(),
        "FailingStreak": value.failing_streak,
    }


def _ports(value: Container) -> list[Json]:
    """Published ones by address, then those that are only exposed."""
    found: list[Json] = []
    for port in value.ports:
        kind = PortConfig.Protocol.Name(port.protocol).lower()
        found += [
            {
                "IP": address,
                "PrivatePort": port.target_port,
                "PublicPort": port.published_port,
                "Type": kind,
            }
            for address in ports.addresses(port)
        ]
    taken = {ports.target(port) for port in value.ports}
    for name in dict.fromkeys(ports.each([*value.exposed_ports, *value.config.exposed_ports])):
        if name not in taken:
            number, _, kind = name.partition("/")
            found.append({"PrivatePort": int(number), "Type": kind})
    return found
