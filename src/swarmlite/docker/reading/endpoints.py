"""Places on networks as they are asked for, and published ports."""

from __future__ import annotations

import ipaddress

from swarmlite.docker.fields import Fields
from swarmlite.errors import InvalidSpec
from swarmlite.model.numerals import decimal
from swarmlite.proto.containers_pb2 import EndpointConfig
from swarmlite.proto.types_pb2 import PortConfig

_PROTOCOLS = {"tcp": PortConfig.TCP, "udp": PortConfig.UDP, "sctp": PortConfig.SCTP}
MAX_PORT = 65535


def endpoint(network: str, fields: Fields) -> EndpointConfig:
    """One of NetworkingConfig.EndpointsConfig, or a connect's EndpointConfig."""
    addresses = fields.object("IPAMConfig")
    if fields.number("GwPriority"):
        raise fields.wrong(
            "GwPriority", "is not supported: the first network of a container is its way out"
        )
    return EndpointConfig(
        network=network,
        aliases=fields.texts("Aliases"),
        ipv4_address=addresses.text("IPv4Address"),
        ipv6_address=addresses.text("IPv6Address"),
        mac_address=fields.text("MacAddress"),
        driver_options=fields.mapping("DriverOpts"),
        links=fields.texts("Links"),
        link_local_ips=addresses.texts("LinkLocalIPs"),
    )


def endpoints(networking: Fields) -> list[EndpointConfig]:
    """NetworkingConfig.EndpointsConfig; a network may have null."""
    return [
        endpoint(name, Fields.of(value, path))
        for name, value, path in networking.entries("EndpointsConfig")
    ]


def published(host: Fields) -> list[PortConfig]:
    """HostConfig.PortBindings: {"80/tcp": [{"HostIp", "HostPort"}]}."""
    made = []
    for name, value, path in host.entries("PortBindings"):
        target, protocol = port(name)
        entries = Fields({"": value}, path).objects("") if value is not None else []
        # An empty list is a port that is free.
        for binding in entries or [Fields({})]:
            made.append(_binding(target, protocol, binding))
    return made


def _binding(target: int, protocol: PortConfig.Protocol.ValueType, binding: Fields) -> PortConfig:
    text = binding.text("HostPort")
    first, dash, last = text.partition("-")
    made = PortConfig(
        protocol=protocol,
        target_port=target,
        published_port=_number(first or "0", text),
        publish_mode=PortConfig.HOST,
        host_ip=_address(binding),
    )
    if dash:
        made.published_port_end = _number(last, text)
        if made.published_port_end < made.published_port:
            raise InvalidSpec(f'invalid port specification: "{text[:40]}"')
    return made


def _address(binding: Fields) -> str:
    """HostIp in its shortest form; empty for all."""
    text = binding.text("HostIp")
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        if "%" in bare:  # a zone: ports are published on addresses, whatever their interface
            raise ValueError
        return str(ipaddress.ip_address(bare)) if text else ""
    except ValueError as error:
        raise binding.wrong("HostIp", f"{text[:60]!r} is not an IP address") from error


def port(name: str) -> tuple[int, PortConfig.Protocol.ValueType]:
    """ "80/tcp" or "80". Raises InvalidSpec."""
    number, _, protocol = name.partition("/")
    if (protocol or "tcp").lower() not in _PROTOCOLS:
        raise InvalidSpec(f'invalid port specification: "{name[:40]}"')
    return _number(number, name), _PROTOCOLS[(protocol or "tcp").lower()]


def _number(text: str, whole: str) -> int:
    if (number := decimal(text, 0, MAX_PORT)) is None:
        raise InvalidSpec(f'invalid port specification: "{whole[:40]}"')
    return number


def exposed(config: Fields) -> list[str]:
    """Config.ExposedPorts: {"80/tcp": {}, "7000-7002/udp": {}}."""
    found = []
    for name, _, _ in config.entries("ExposedPorts"):
        numbers, _, protocol = name.partition("/")
        first, dash, last = numbers.partition("-")
        low, high = _number(first, name), _number(last, name) if dash else 0
        if (protocol or "tcp").lower() not in _PROTOCOLS or (dash and high < low):
            raise InvalidSpec(f'invalid port specification: "{name[:40]}"')
        found.append(f"{numbers}/{(protocol or 'tcp').lower()}")
    return found
