"""Notations of one line each: networks, limits of a process, preferences, resources, hosts."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from swarmlite.errors import InvalidSpec
from swarmlite.model.references import HOST_GATEWAY
from swarmlite.proto.specs_pb2 import Dependency
from swarmlite.proto.types_pb2 import (
    GenericResource,
    NetworkAttachmentConfig,
    PlacementPreference,
    SpreadOver,
    Ulimit,
)
from swarmlite.stack import outside

from . import fields


def parse_network(text: str) -> NetworkAttachmentConfig:
    """ "name" or "name=web,alias=a,alias=b,driver-opt=k=v"."""
    if "=" not in text:
        if not text.strip():
            raise InvalidSpec("expected a network's name")
        return NetworkAttachmentConfig(target=text.strip())
    attachment = NetworkAttachmentConfig()
    for key, value in fields.split(text):
        if key == "name":
            attachment.target = fields.required(key, value)
        elif key == "alias":
            attachment.aliases.append(fields.required(key, value))
        elif key == "ip":
            attachment.addresses.append(address(fields.required(key, value)))
        elif key == "driver-opt":
            name, option = fields.pair(fields.required(key, value))
            attachment.driver_attachment_opts[name] = option
        else:
            raise fields.unknown(key, ("name", "alias", "driver-opt", "ip"))
    if not attachment.target:
        raise InvalidSpec("name=NETWORK is missing")
    return attachment


CONDITIONS = {
    "started": Dependency.STARTED,
    "healthy": Dependency.HEALTHY,
    "completed": Dependency.COMPLETED,
}


def parse_dependency(text: str) -> Dependency:
    """ "db" or "db:healthy"."""
    service, colon, word = text.partition(":")
    word = word.removeprefix("service_").removesuffix("_successfully") if colon else "started"
    if not service or word not in CONDITIONS:
        raise InvalidSpec("expected SERVICE[:started|healthy|completed]")
    return Dependency(service=service, condition=CONDITIONS[word])


def parse_ulimit(text: str) -> Ulimit:
    """ "nofile=1024" or "nofile=1024:2048"; -1 is unlimited."""
    name, equals, values = text.partition("=")
    if not equals or not name:
        raise InvalidSpec("expected NAME=SOFT[:HARD], for example nofile=1024:2048")
    soft_text, colon, hard_text = values.partition(":")
    soft = fields.number(f"{name} soft limit", soft_text, least=-1)
    hard = fields.number(f"{name} hard limit", hard_text, least=-1) if colon else soft
    return ulimit(name, soft, hard)


def ulimit(name: str, soft: int, hard: int) -> Ulimit:
    """A limit whose soft part is within its hard one."""
    if hard != -1 and (soft == -1 or soft > hard):
        raise InvalidSpec(f"{name}: the soft limit {soft} is above the hard limit {hard}")
    return Ulimit(name=name, soft=soft, hard=hard)


def parse_preference(text: str) -> PlacementPreference:
    """ "spread=node.labels.zone"."""
    strategy, equals, descriptor = text.partition("=")
    if not equals or not descriptor:
        raise InvalidSpec("expected spread=node.labels.NAME")
    if strategy.strip().lower() != "spread":
        raise InvalidSpec(f"the strategy is spread, not {strategy!r}")
    return PlacementPreference(spread=SpreadOver(spread_descriptor=descriptor))


def parse_generic(text: str) -> GenericResource:
    """ "gpu=2" or "gpu=UUID1"."""
    kind, equals, value = text.partition("=")
    if not equals or not kind or not value:
        raise InvalidSpec("expected KIND=COUNT, for example gpu=2")
    if value.isascii() and value.isdigit():
        return GenericResource(kind=kind, discrete=fields.number(kind, value, least=1))
    return GenericResource(kind=kind, named=value)


def parse_host(text: str) -> str:
    """ "name:IP" (or "name=IP") as a line of hosts(5): "IP name"."""
    separator = "=" if "=" in text else ":"
    name, found, value = text.partition(separator)
    if not found or not name or " " in name:
        raise InvalidSpec("expected HOST:IP, for example db:10.0.0.5")
    return f"{host_address(value)} {name}"


def host_address(text: str) -> str:
    """An address of a host's name: an IP address, or host-gateway for the host's own."""
    return HOST_GATEWAY if text.strip() == HOST_GATEWAY else address(text.strip("[]"))


def address(text: str) -> str:
    """An IPv4 or IPv6 address. Raises InvalidSpec."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError as error:
        raise InvalidSpec(f"{text!r} is not an IP address") from error


def environment(items: Iterable[str], outside: dict[str, str]) -> list[str]:
    """ "NAME=value" as it is; "NAME" with its value outside, or not at all. Later ones win."""
    values: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not name or "\0" in item:
            raise InvalidSpec(f"{item!r} is not a variable: NAME=VALUE or NAME")
        if equals:
            values[name] = value
        elif name in outside:
            values[name] = outside[name]
    return [f"{name}={value}" for name, value in values.items()]


def read_env_file(path: Path) -> list[str]:
    """The variables of the file at `path`. Raises InvalidSpec, OSError."""
    try:
        # Not read_text, which takes a lone CR for the end of a line.
        text = outside.read(path).decode()
    except UnicodeDecodeError as error:
        raise InvalidSpec("not UTF-8") from error
    return env_file(text)


def env_file(text: str) -> list[str]:
    """The variables of a file: a line each, empty ones and # comments left out."""
    items = []
    # Lines end at LF and CR LF only; a form feed and U+2028 belong to the value.
    for line in text.removeprefix("\ufeff").split("\n"):
        stripped = line.removesuffix("\r").lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        name = stripped.partition("=")[0]
        if not name or any(c.isspace() for c in name):
            raise InvalidSpec(f"variable {name!r} holds white space")
        items.append(stripped)
    return items
