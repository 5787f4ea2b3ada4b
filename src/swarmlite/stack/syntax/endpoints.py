"""A plain container's place on a network: "name" or "name=web,alias=a,ip=10.0.0.5,..."."""

from __future__ import annotations

import ipaddress
import re

from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import EndpointConfig

from . import fields

_MAC = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){5}", re.ASCII)
_KEYS = ("name", "alias", "ip", "ip6", "mac-address", "driver-opt")


def parse(text: str) -> EndpointConfig:
    """The endpoint that `--network` asks for. Raises InvalidSpec."""
    if "=" not in text:
        if not text.strip():
            raise InvalidSpec("expected a network's name")
        return EndpointConfig(network=text.strip())
    endpoint = EndpointConfig()
    for key, value in fields.split(text):
        _put(endpoint, key, value)
    if not endpoint.network:
        raise InvalidSpec("name=NETWORK is missing")
    return endpoint


def _put(endpoint: EndpointConfig, key: str, value: str | None) -> None:
    if key in ("link-local-ip", "gw-priority"):
        raise InvalidSpec(f"{key}: not supported yet")
    if key not in _KEYS:
        raise fields.unknown(key, _KEYS)
    word = fields.required(key, value)
    if key == "name":
        endpoint.network = word
    elif key == "alias":
        endpoint.aliases.append(word)
    elif key == "ip":
        endpoint.ipv4_address = ipv4(word)
    elif key == "ip6":
        endpoint.ipv6_address = ipv6(word)
    elif key == "mac-address":
        endpoint.mac_address = mac(word)
    else:
        name, option = fields.pair(word)
        endpoint.driver_options[name] = option


def ipv4(text: str) -> str:
    """An IPv4 address. Raises InvalidSpec."""
    try:
        return str(ipaddress.IPv4Address(text.strip()))
    except ValueError as error:
        raise InvalidSpec(f"{text!r} is not an IPv4 address") from error


def ipv6(text: str) -> str:
    """An IPv6 address. Raises InvalidSpec."""
    try:
        return str(ipaddress.IPv6Address(text.strip()))
    except ValueError as error:
        raise InvalidSpec(f"{text!r} is not an IPv6 address") from error


def mac(text: str) -> str:
    """A MAC address, lower case with colons. Raises InvalidSpec."""
    lower = text.strip().lower()
    if not _MAC.fullmatch(lower):
        raise InvalidSpec(f"{text!r} is not a MAC address such as 92:d0:c6:0a:29:33")
    return lower.replace("-", ":")
