"""Published ports: "8080:80/tcp", "8080-8090:80-90", "published=8080,target=80,mode=host"."""

from __future__ import annotations

import ipaddress

from swarmlite.errors import InvalidSpec
from swarmlite.proto.types_pb2 import PortConfig

from . import fields

PROTOCOLS = {"tcp": PortConfig.TCP, "udp": PortConfig.UDP, "sctp": PortConfig.SCTP}
MODES = {"ingress": PortConfig.INGRESS, "host": PortConfig.HOST}
SOURCES = {"client": PortConfig.CLIENT, "masquerade": PortConfig.MASQUERADE}
LONG = ("target", "published", "protocol", "mode", "name", "host_ip", "source")
_SHORT_NAMES = {"ip": "host_ip"}
MAX_PORT = 65535


def parse(text: str) -> list[PortConfig]:
    """The ports of either notation; a range gives one for each port. Raises InvalidSpec."""
    return parse_long(text) if "=" in text else parse_short(text)


def parse_long(text: str) -> list[PortConfig]:
    """Key=value pairs; target is required."""
    values: dict[str, str] = {}
    for key, value in fields.split(text):
        full = _SHORT_NAMES.get(key, key)
        if full not in LONG:
            raise fields.unknown(key, LONG)
        values[full] = fields.required(key, value)
    if "target" not in values:
        raise InvalidSpec("target=PORT is missing")
    targets = _range("target", values["target"])
    published = _range("published", values["published"]) if "published" in values else []
    template = PortConfig(
        name=values.get("name", ""),
        protocol=protocol(values.get("protocol", "tcp")),
        publish_mode=mode(values.get("mode", "ingress")),
        host_ip=_address(values["host_ip"]) if "host_ip" in values else "",
        source=source(values.get("source", "client")),
    )
    return _paired(template, targets, published, text)


def parse_short(text: str) -> list[PortConfig]:
    """[[IP:]PUBLISHED:]TARGET[/PROTOCOL], each port perhaps a range."""
    ports, _, suffix = text.partition("/")
    address = ""
    if ports.startswith("["):
        address, _, ports = ports[1:].partition("]:")
    parts = ports.split(":")
    if len(parts) == 3 and not address:
        address, parts = parts[0], parts[1:]
    if len(parts) > 2 or not parts[-1]:
        raise InvalidSpec("expected [PUBLISHED:]TARGET[/tcp|udp|sctp], for example 8080:80/tcp")
    template = PortConfig(
        protocol=protocol(suffix or "tcp"), host_ip=_address(address) if address else ""
    )
    published = _range("published port", parts[0]) if len(parts) == 2 and parts[0] else []
    return _paired(template, _range("target port", parts[-1]), published, text)


def parse_published(text: str) -> list[PortConfig]:
    """`--publish` of a plain container, on this host; a range for one target means any free one."""
    if "=" in text:
        raise InvalidSpec(
            "expected [[IP:]PUBLISHED:]TARGET[/tcp|udp|sctp], for example 8080:80/tcp"
        )
    ports = parse_short(text)
    several = len({port.target_port for port in ports}) == 1 and len(ports) > 1
    if several:
        ports[0].published_port_end = ports[-1].published_port
        del ports[1:]
    for port in ports:
        port.publish_mode = PortConfig.HOST
    return ports


def parse_exposed(text: str) -> str:
    """`--expose`: "80", "80/udp" or "7000-7002/tcp"; the protocol is always said."""
    numbers, _, suffix = text.partition("/")
    _range("port", numbers)
    return f"{numbers}/{PortConfig.Protocol.Name(protocol(suffix or 'tcp')).lower()}"


def protocol(text: str) -> PortConfig.Protocol.ValueType:
    """tcp, udp or sctp."""
    return PortConfig.Protocol.ValueType(fields.word("protocol", text.lower(), PROTOCOLS))


def mode(text: str) -> PortConfig.PublishMode.ValueType:
    """ingress or host."""
    return PortConfig.PublishMode.ValueType(fields.word("mode", text.lower(), MODES))


def source(text: str) -> PortConfig.Source.ValueType:
    """client or masquerade."""
    return PortConfig.Source.ValueType(fields.word("source", text.lower(), SOURCES))


def _paired(
    template: PortConfig, targets: list[int], published: list[int], text: str
) -> list[PortConfig]:
    if len(targets) == 1 and len(published) > 1:
        targets = targets * len(published)  # several ports of the host lead to one of the container
    if published and len(published) != len(targets):
        raise InvalidSpec(f"the ranges of {text!r} differ in length")
    result = []
    for index, target in enumerate(targets):
        port = PortConfig()
        port.CopyFrom(template)
        port.target_port = target
        port.published_port = published[index] if published else 0
        result.append(port)
    return result


def _range(key: str, text: str) -> list[int]:
    first, dash, last = text.partition("-")
    if key.startswith("published") and text == "0":
        return []  # any that is free
    low = fields.number(key, first, least=1, most=MAX_PORT)
    high = fields.number(key, last, least=1, most=MAX_PORT) if dash else low
    if high < low:
        raise InvalidSpec(f"{key} range {text!r} ends before it begins")
    return list(range(low, high + 1))


def _address(text: str) -> str:
    if "%" in text:
        raise InvalidSpec(f"{text!r} has a zone: ports are published on addresses without one")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise InvalidSpec(f"{text!r} is not an IP address") from error
