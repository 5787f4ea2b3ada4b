"""What a network spec may say."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec
from swarmlite.model import encryption, subnets
from swarmlite.model.numerals import decimal
from swarmlite.model.references import INGRESS_NETWORK, PREDEFINED_NETWORKS
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.proto.types_pb2 import IPAMConfig

from . import checks
from .unsupported import HOST_MADE_DRIVERS, NETWORK_OPTIONS, check_network

MIN_MTU, MIN_MTU6 = 576, 1280


@checks.in_one_line
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
    _options(spec)
    check_network(spec)
    _made_by_hosts(spec)
    given = [_ipam(config) for config in spec.ipam.configs]
    six = spec.ipv6_enabled or any(subnet.version == 6 for subnet in given)
    _mtu(spec, MIN_MTU6 if six else MIN_MTU)
    _encryption(spec)
    if spec.ingress and six:
        raise InvalidSpec("--ingress: it has IPv6 addresses of its own, leave out --ipv6")
    for number, subnet in enumerate(given):
        for other in given[:number]:
            if subnet.overlaps(other):
                raise InvalidSpec(f"--subnet {subnet}: overlaps with {other}")


def _options(spec: NetworkSpec) -> None:
    driver = spec.driver.name or "overlay"
    known = NETWORK_OPTIONS.get(driver, ())
    for key in spec.driver.options:
        if known and key not in known:
            raise InvalidSpec(f"-o {key}: not an option of {driver}; known: {', '.join(known)}")


def _made_by_hosts(spec: NetworkSpec) -> None:
    """Drivers other than overlay: each host makes the network, of its own configuration."""
    driver = spec.driver.name
    if spec.config_only:
        raise InvalidSpec(
            "--config-only: a configuration is of one host, make it on each host without --scope"
        )
    if driver in HOST_MADE_DRIVERS:
        if spec.ingress:
            raise InvalidSpec(f"--ingress: published ports need an overlay, not a {driver}")
        if spec.config_from and (spec.driver.options or spec.ipam.configs):
            raise InvalidSpec(
                f"--config-from {spec.config_from}: subnets and options are those of the"
                " configuration, leave them out"
            )
    elif spec.config_from:
        raise InvalidSpec("--config-from: an overlay is configured by the managers, leave it out")


def _encryption(spec: NetworkSpec) -> None:
    value = spec.driver.options.get(encryption.OPTION, "false")
    if value.lower() not in encryption.VALUES:
        raise InvalidSpec(f"-o {encryption.OPTION}: {value[:20]!r} is not true or false")
    if spec.ingress and encryption.wanted(spec):
        raise InvalidSpec("--ingress: the ingress network cannot be encrypted")


def _mtu(spec: NetworkSpec, least: int) -> None:
    for key in ("com.docker.network.driver.mtu",):
        value = spec.driver.options.get(key, "1450")
        if decimal(value, least, 65535) is None:
            raise InvalidSpec(f"-o {key}: {value[:20]!r} is not a number from {least} to 65535")


def _ipam(config: IPAMConfig) -> subnets.Subnet:
    if not config.subnet:
        raise InvalidSpec("--gateway, --ip-range and --aux-address need a --subnet")
    subnet = subnets.of_hosts(config.subnet)
    least, most = (8, 29) if subnet.version == 4 else (32, 124)
    if not least <= subnet.prefixlen <= most:
        raise InvalidSpec(
            f"--subnet {config.subnet}: expected a prefix length from {least} to {most}"
        )
    if config.range:
        inner = subnets.parse("--ip-range", config.range)
        if inner.version != subnet.version or not _within(inner, subnet):
            raise InvalidSpec(f"--ip-range {config.range}: is not within --subnet {subnet}")
    if config.gateway:
        _inside("--gateway", config.gateway, subnet)
    for name, address in config.reserved.items():
        _inside(f"--aux-address {name}", address, subnet)
    return subnet


def _within(inner: subnets.Subnet, outer: subnets.Subnet) -> bool:
    return inner.network_address in outer and inner.broadcast_address in outer


def _inside(where: str, text: str, subnet: subnets.Subnet) -> None:
    address = checks.address(where, text)
    if address not in subnet:
        raise InvalidSpec(f"{where} {address}: is not within --subnet {subnet}")
    last = subnet.broadcast_address if subnet.version == 4 else None
    if address in (subnet.network_address, last):
        raise InvalidSpec(f"{where} {address}: is not a host address of --subnet {subnet}")
