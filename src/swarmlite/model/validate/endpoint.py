"""What an endpoint spec may say: its mode and its ports."""

from __future__ import annotations

import ipaddress

from swarmlite.errors import InvalidSpec
from swarmlite.proto.types_pb2 import EndpointSpec, PortConfig

from . import checks

OWN_PORTS = {
    (PortConfig.TCP, 2377): "the managers' API",
    (PortConfig.TCP, 2381): "etcd",
    (PortConfig.TCP, 2382): "etcd",
    (PortConfig.UDP, 4789): "overlay networks",
}
"""Ports of every node that swarmlite listens on itself."""
LOOPBACK6 = ipaddress.IPv6Address("::1")
EVERYWHERE = ("", "0.0.0.0", "::")
"""Addresses that a port is published on when that is on all."""


def validate_endpoint(spec: EndpointSpec) -> None:
    """Raise InvalidSpec for the first rule that `spec` breaks."""
    checks.member("--endpoint-mode", spec.mode, EndpointSpec.Mode)
    for port in spec.ports:
        _port(port)
        if spec.mode == EndpointSpec.DNSRR and port.publish_mode == PortConfig.INGRESS:
            raise InvalidSpec(
                f"--publish {describe(port)}: mode=ingress cannot be used with "
                "--endpoint-mode dnsrr;"
                " use mode=host"
            )
    known: dict[str, list[PortConfig]] = {}
    for port in spec.ports:
        others = known.setdefault(_key(port), [])
        if port.published_port and any(meet(port, other) for other in others):
            raise InvalidSpec(f"--publish: published port {_key(port)} is specified twice")
        others.append(port)


def describe(port: PortConfig) -> str:
    """A port as users write it: "8080:80/tcp"."""
    protocol = PortConfig.Protocol.Name(port.protocol).lower()
    published = f"{port.published_port}:" if port.published_port else ""
    return f"{published}{port.target_port}/{protocol}"


def where(port: PortConfig) -> str:
    """The host address that a port is published on in its shortest form, empty for all."""
    if port.host_ip in EVERYWHERE:
        return ""
    try:
        return str(ipaddress.ip_address(port.host_ip))
    except ValueError:  # of a service that was made before this was refused
        return port.host_ip


def meet(one: PortConfig, other: PortConfig) -> bool:
    """Whether two published ports cannot both be there: protocol, number and address meet."""
    # Whatever their modes: both listen on the host.
    same = (one.protocol, one.published_port) == (other.protocol, other.published_port)
    return same and (where(one) == where(other) or not where(one) or not where(other))


def _key(port: PortConfig) -> str:
    return f"{port.published_port}/{PortConfig.Protocol.Name(port.protocol).lower()}"


def _port(port: PortConfig) -> None:
    checks.member("--publish: protocol", port.protocol, PortConfig.Protocol)
    checks.member("--publish: mode", port.publish_mode, PortConfig.PublishMode)
    checks.member("--publish: source", port.source, PortConfig.Source)
    if port.source == PortConfig.MASQUERADE and port.publish_mode == PortConfig.HOST:
        raise InvalidSpec(
            f"--publish {describe(port)}: source=masquerade is for mode=ingress; a port in host"
            " mode always has its client's address"
        )
    checks.text("--publish: name", port.name)
    checks.between("--publish: target port", port.target_port, 1, 65535)
    checks.between("--publish: published port", port.published_port, 0, 65535)
    if "%" in port.host_ip:
        raise InvalidSpec(
            f"--publish: host_ip: {port.host_ip[:60]!r} has a zone: ports are published on"
            " addresses without one"
        )
    if port.host_ip and checks.address("--publish: host_ip", port.host_ip) == LOOPBACK6:
        # The kernel cannot lead a packet from ::1 out of the host, as it can one of 127.0.0.1.
        raise InvalidSpec(
            f"--publish {describe(port)}: host_ip={port.host_ip} cannot be published on, use"
            " 127.0.0.1"
        )
    owner = OWN_PORTS.get((port.protocol, port.published_port))
    if owner:
        raise InvalidSpec(f"--publish {describe(port)}: the port belongs to {owner} on every node")
