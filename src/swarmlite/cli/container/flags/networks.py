"""Flags of what a container is connected to, and of the names that it knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmlite.cli.lazy import parsed
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerConfig, EndpointConfig
from swarmlite.proto.types_pb2 import PortConfig
from swarmlite.stack.syntax import endpoints, ports, small

from .table import Row, extend, listed, text

_SPECIAL = ("host", "none")


def _publish(config: ContainerConfig, values: list[list[PortConfig]]) -> None:
    for group in values:
        config.ports.extend(group)


def _dns_search(config: ContainerConfig, values: list[str]) -> None:
    # "." alone means no search domains, not even the host's.
    config.spec.dns_config.search[:] = values


ROWS = [
    Row(
        ("-p", "--publish"),
        _publish,
        listed(ports.parse_published),
        "Publish a container's port(s) to the host",
        True,
    ),
    Row(("-P", "--publish-all"), text("publish_all"), bool, "Publish all exposed ports"),
    Row(
        ("--expose",),
        extend("exposed_ports"),
        listed(ports.parse_exposed),
        "Expose a port or a range of ports",
        True,
    ),
    Row(
        ("--add-host",),
        extend("spec.hosts"),
        listed(small.parse_host),
        "Add a custom host-to-IP mapping (host:ip)",
        True,
    ),
    Row(
        ("--dns",),
        extend("spec.dns_config.nameservers"),
        listed(small.address),
        "Set custom DNS servers",
        True,
    ),
    Row(("--dns-option",), extend("spec.dns_config.options"), help="Set DNS options", many=True),
    Row(("--dns-search",), _dns_search, help="Set custom DNS search domains", many=True),
]


def _nothing(config: ContainerConfig, value: Any) -> None:
    """Read by `attach`, all of them together."""


NETWORKS = [
    Row(
        ("--network", "--net"),
        _nothing,
        listed(endpoints.parse),
        "Connect a container to a network",
        True,
    ),
    Row(
        ("--network-alias", "--net-alias"),
        _nothing,
        help="Add network-scoped alias for the container",
        many=True,
    ),
    Row(("--link",), _nothing, help="Add link to another container (NAME[:ALIAS])", many=True),
    Row(("--ip",), _nothing, parsed(endpoints.ipv4), "IPv4 address (e.g., 172.30.100.104)"),
    Row(("--ip6",), _nothing, parsed(endpoints.ipv6), "IPv6 address (e.g., 2001:db8::33)"),
    Row(
        ("--mac-address",),
        _nothing,
        parsed(endpoints.mac),
        "Container MAC address (e.g., 92:d0:c6:0a:29:33)",
    ),
]


def attach(config: ContainerConfig, values: Mapping[str, Any]) -> None:
    """Write the networks into `config`. Raises InvalidSpec for what contradicts itself."""
    asked: list[EndpointConfig] = list(values["network"])
    if not asked:
        asked = [EndpointConfig(network="default")]
    _alone(asked)
    _common_settings(asked[0], values)
    seen: set[str] = set()
    for endpoint in asked:
        if endpoint.network in seen:
            raise InvalidSpec(f"network {endpoint.network!r} is specified twice")
        seen.add(endpoint.network)
    config.network_mode = asked[0].network
    said = [e for n, e in enumerate(asked) if n or e != EndpointConfig(network=e.network)]
    config.networks.extend(said)
    _check_sharing(config)


def _alone(asked: list[EndpointConfig]) -> None:
    """host, none and container:REF are not networks that go with others or have settings."""
    for endpoint in asked:
        name = endpoint.network
        if name.startswith("container:") and not name.removeprefix("container:"):
            raise InvalidSpec("--network container: needs a container, as container:web")
        if name not in _SPECIAL and not name.startswith("container:"):
            continue
        if len(asked) > 1:
            raise InvalidSpec(
                f"conflicting options: --network {name} cannot be combined with another network"
            )
        if endpoint != EndpointConfig(network=name):
            raise InvalidSpec(f"--network {name}: takes neither aliases nor addresses")


def _common_settings(first: EndpointConfig, values: Mapping[str, Any]) -> None:
    """--ip, --ip6, --mac-address, --link and --network-alias are of the first network."""
    shared = first.network in _SPECIAL or first.network.startswith("container:")
    if values["link"]:
        if shared:
            raise InvalidSpec(f"conflicting options: --link and --network {first.network}")
        first.links.extend(values["link"])
    for flag, key, field in (
        ("--ip", "ip", "ipv4_address"),
        ("--ip6", "ip6", "ipv6_address"),
        ("--mac-address", "mac_address", "mac_address"),
    ):
        value = values[key]
        if value is None:
            continue
        if shared:
            raise InvalidSpec(f"conflicting options: {flag} and --network {first.network}")
        if getattr(first, field):
            raise InvalidSpec(f"conflicting options: {flag} is also given by --network")
        setattr(first, field, value)
    if values["network_alias"]:
        if first.network in ("default", "bridge"):
            raise InvalidSpec(
                "--network-alias: the network bridge has no names; make a network of your own with"
                " `swarmlite network create NAME` and use --network NAME"
            )
        if shared:
            raise InvalidSpec(f"conflicting options: --network-alias and --network {first.network}")
        if first.aliases:
            raise InvalidSpec("conflicting options: --network-alias is also given by --network")
        first.aliases.extend(values["network_alias"])


def _check_sharing(config: ContainerConfig) -> None:
    """What belongs to a network namespace is said by the container that owns it."""
    mode = config.network_mode
    if not mode.startswith("container:"):
        return
    for flag, said in (
        ("--hostname", config.spec.hostname),
        ("--publish", config.ports),
        ("--publish-all", config.publish_all),
        ("--expose", config.exposed_ports),
        ("--add-host", config.spec.hosts),
        ("--dns", config.spec.dns_config.nameservers),
    ):
        if said:
            raise InvalidSpec(f"conflicting options: {flag} and --network {mode}")
