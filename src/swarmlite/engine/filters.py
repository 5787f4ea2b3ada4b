"""Docker's filters of `ps`: which containers a list holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from swarmlite.engine import network_plan
from swarmlite.engine.events import nanoseconds
from swarmlite.engine.records import Record, Records
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.model.references import Reference
from swarmlite.proto.containers_pb2 import ContainerState, Health
from swarmlite.proto.control_pb2 import Filter

STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
HEALTHS = ("none", "starting", "healthy", "unhealthy")
Test = Callable[[Record, str], bool]


def matcher(filters: Iterable[Filter], records: Records) -> Callable[[Record], bool]:
    """Whether a container passes every filter: any of a key's values, all of `label`'s.

    Raises InvalidSpec for an unknown key or an impossible value.
    """
    wanted: list[tuple[str, list[str]]] = []
    for entry in filters:
        if entry.key not in TESTS and entry.key not in ("before", "since"):
            known = ", ".join(sorted([*TESTS, "before", "since"]))
            raise InvalidSpec(f"invalid filter {entry.key!r}: expected one of {known}")
        if entry.values:  # a key without any asks for nothing
            wanted.append((entry.key, [_checked(entry.key, value) for value in entry.values]))
    bounds = {
        key: nanoseconds(records.find(values[0]).message.created)
        for key, values in wanted
        if key in ("before", "since")
    }

    def passes(record: Record) -> bool:
        created = nanoseconds(record.message.created)
        if "before" in bounds and created >= bounds["before"]:
            return False
        if "since" in bounds and created <= bounds["since"]:
            return False
        for key, values in wanted:
            if key in bounds:
                continue
            combine = all if key == "label" else any
            if not combine(TESTS[key](record, value) for value in values):
                return False
        return True

    return passes


def names_a_state(filters: Iterable[Filter]) -> bool:
    """Whether containers that do not run are asked for by a filter, without --all."""
    return any(entry.key in ("status", "exited") for entry in filters)


def _checked(key: str, value: str) -> str:
    if key == "status" and value not in STATUSES:
        raise InvalidSpec(f"invalid filter 'status={value}': expected {', '.join(STATUSES)}")
    if key == "health" and value not in HEALTHS:
        raise InvalidSpec(f"invalid filter 'health={value}': expected {', '.join(HEALTHS)}")
    if key == "exited" and not value.lstrip("-").isdigit():
        raise InvalidSpec(f"invalid filter 'exited={value}': expected an exit code")
    if key == "is-task" and value.lower() not in ("true", "false", "1", "0"):
        raise InvalidSpec(f"invalid filter 'is-task={value}': expected true or false")
    if key in ("publish", "expose"):
        _port(value)
    if key == "name":
        try:
            re.compile(value)
        except re.error as error:
            raise InvalidSpec(f"invalid filter 'name={value[:60]}': {error}") from error
    return value


def _port(value: str) -> list[tuple[int, int]]:
    return [(int(protocol), number) for protocol, number in network_plan.exposed_ports([value])]


def _name(record: Record, value: str) -> bool:
    pattern = re.compile(value)
    return bool(pattern.search(record.name) or pattern.search(f"/{record.name}"))


def _status(record: Record, value: str) -> bool:
    return status_word(record) == value


def status_word(record: Record) -> str:
    """Docker's word for its status."""
    if record.state.status == ContainerState.CREATING:
        return "created"
    return ContainerState.Status.Name(record.state.status).lower()


def _label(record: Record, value: str) -> bool:
    name, separator, wanted = value.partition("=")
    labels = record.message.labels
    return name in labels and (not separator or labels[name] == wanted)


def _exited(record: Record, value: str) -> bool:
    ended = record.state.status in (ContainerState.EXITED, ContainerState.DEAD)
    return ended and record.state.HasField("started") and record.state.exit_code == int(value)


def _health(record: Record, value: str) -> bool:
    return Health.Status.Name(record.state.health.status).lower() == value


def _volume(record: Record, value: str) -> bool:
    return any(value in (point.name, point.destination) for point in record.message.mounts)


def _network(record: Record, value: str) -> bool:
    if any(
        value in (state.network_name, state.network_id) or state.network_id.startswith(value)
        for state in record.message.networks
        if value
    ):
        return True
    mode = network_plan.mode_of(record.config)
    wanted = record.message.wanted_networks
    return value == mode or any(each.network == value for each in wanted)


def _published(record: Record, value: str) -> bool:
    ports = [*record.config.ports, *record.message.ports]
    held = {(int(port.protocol), port.published_port) for port in ports}
    return any(port in held for port in _port(value))


def _exposed(record: Record, value: str) -> bool:
    exposed = network_plan.exposed_ports(record.message.exposed_ports)
    held = {(int(protocol), number) for protocol, number in exposed}
    held |= {(int(port.protocol), port.target_port) for port in record.config.ports}
    return any(port in held for port in _port(value))


def _ancestor(record: Record, value: str) -> bool:
    image = record.message.image_id
    if value and (image.startswith(value) or image.removeprefix("sha256:").startswith(value)):
        return True
    return _canonical(record.config.spec.image) == _canonical(value)


def _canonical(reference: str) -> str:
    try:
        return str(Reference.parse(reference))
    except (InvalidSpec, NotFound):
        return reference


TESTS: dict[str, Test] = {
    "ancestor": _ancestor,
    "expose": _exposed,
    "exited": _exited,
    "health": _health,
    "id": lambda record, value: record.id.startswith(value),
    "isolation": lambda record, value: True,  # there is one here, whatever it is called
    "is-task": lambda record, value: record.of_task == (value.lower() in ("true", "1")),
    "label": _label,
    "name": _name,
    "network": _network,
    "publish": _published,
    "status": _status,
    "volume": _volume,
}
