"""What a network spec may say."""

from __future__ import annotations

import ipaddress

from swarmlite.errors import InvalidSpec
from swarmlite.model.references import INGRESS_NETWORK, PREDEFINED_NETWORKS
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.proto.types_pb2 import IPAMConfig

from . import checks
from .unsupported import check_network


def validate_network(spec: NetworkSpec) -> None:
    """Raise InvalidSpec for the first rule that `spec` breaks."""
    name = spec.annotations.name
    checks.object_name("network name", name)
    checks.object_labels("network", spec.annotations)
    checks.size(f"network {name}", spec, checks.MAX_SPEC_BYTES)
    if name in PREDEFINED_NETWORKS:
        raise InvalidSpec(f"network name: {name} is a predefined network of every node")
    if name == INGRESS_NETWORK and not spec.ingress:
        raise InvalidSpec(f"network name: {name} is the network of published ports")
    if spec.ingress and spec.attachable:
        raise InvalidSpec("--ingress: the ingress network cannot be attachable")
    if spec.ingress and spec.internal:
        raise InvalidSpec("--ingress: the ingress network cannot be internal")
    check_network(spec)
    _mtu(spec)
    subnets = [_ipam(config) for config in spec.ipam.configs]
    for number, subnet in enumerate(subnets):
        for other in subnets[:number]:
            if subnet.overlaps(other):
                raise InvalidSpec(f"--subnet {subnet}: overlaps with {other}")


def _mtu(spec: NetworkSpec) -> None:
    for key in ("com.docker.network.driver.mtu",):
        value = spec.driver.options.get(key, "1450")
        if not (value.isascii() and value.isdecimal() and 576 <= int(value) <= 65535):
            raise InvalidSpec(f"-o {key}: {value[:20]!r} is not a number from 576 to 65535")


def _ipam(config: IPAMConfig) -> ipaddress.IPv4Network:
    if not config.subnet:
        raise InvalidSpec("--gateway, --ip-range and --aux-address need a --subnet")
    subnet = checks.network("--subnet", config.subnet)
    if not isinstance(subnet, ipaddress.IPv4Network):
        raise InvalidSpec(f"--subnet {config.subnet}: IPv6 is not supported yet")
    if subnet.prefixlen > 29 or subnet.prefixlen < 8:
        raise InvalidSpec(f"--subnet {config.subnet}: expected a prefix length from 8 to 29")
    if subnet.is_loopback or subnet.is_multicast or subnet.is_link_local or subnet.is_unspecified:
        raise InvalidSpec(f"--subnet {config.subnet}: is not a range of host addresses")
    if config.range:
        inner = checks.network("--ip-range", config.range)
        if not isinstance(inner, ipaddress.IPv4Network) or not inner.subnet_of(subnet):
            raise InvalidSpec(f"--ip-range {config.range}: is not within --subnet {subnet}")
    if config.gateway:
        _inside("--gateway", config.gateway, subnet)
    for name, address in config.reserved.items():
        _inside(f"--aux-address {name}", address, subnet)
    return subnet


def _inside(where: str, text: str, subnet: ipaddress.IPv4Network) -> None:
    address = checks.address(where, text)
    if address not in subnet:
        raise InvalidSpec(f"{where} {address}: is not within --subnet {subnet}")
    if address in (subnet.network_address, subnet.broadcast_address):
        raise InvalidSpec(f"{where} {address}: is not a host address of --subnet {subnet}")
