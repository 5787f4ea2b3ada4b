"""The addresses of a host's networks: which subnets, and who gets which address. Pure.

Source of the behaviour: Docker's local address pools, 172.17.0.0/16 to 172.31.0.0/16 and then
192.168.0.0/20 to 192.168.240.0/20.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from swarmlite.errors import AlreadyExists, InvalidSpec, ResourceExhausted
from swarmlite.model import subnets
from swarmlite.proto.types_pb2 import IPAMConfig

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Subnet = subnets.Subnet
T = TypeVar("T", ipaddress.IPv4Network, ipaddress.IPv6Network)

POOLS = [f"172.{second}.0.0/16" for second in range(17, 32)] + [
    f"192.168.{third}.0/20" for third in range(0, 256, 16)
]
MIN_MTU6 = 1280
ULA_PREFIX = "fd53:4c00"
"""Of the subnets that IPv6 networks without one of their own get."""


def choose(taken: Iterable[Subnet], pools: Iterable[str] = POOLS) -> ipaddress.IPv4Network:
    """The first pool that overlaps none of `taken`. Raises ResourceExhausted."""
    known = [n for n in taken if n.prefixlen and isinstance(n, ipaddress.IPv4Network)]
    for pool in pools:
        subnet = ipaddress.IPv4Network(pool)
        if not any(subnet.overlaps(network) for network in known):
            return subnet
    raise ResourceExhausted(
        "no free subnet in 172.16.0.0/12 and 192.168.0.0/16: give one with --subnet"
    )


def choose6(network_id: str) -> ipaddress.IPv6Network:
    """A /64 of our own, from the network's id."""
    digest = hashlib.sha256(network_id.encode()).hexdigest()
    return ipaddress.IPv6Network(f"{ULA_PREFIX}:{digest[:4]}:{digest[4:8]}::/64")


def resolve(config: IPAMConfig) -> IPAMConfig:
    """A configuration with every part checked, and its gateway chosen. Raises InvalidSpec."""
    subnet = subnets.of_hosts(config.subnet)
    made = IPAMConfig(subnet=str(subnet), ipv6=subnet.version == 6)
    if config.range:
        inner = subnets.parse("--ip-range", config.range)
        if not _within(inner, subnet):
            raise InvalidSpec(f"--ip-range {config.range}: is not within --subnet {subnet}")
        made.range = str(inner)
    if subnet.num_addresses < 4:
        raise InvalidSpec(f"--subnet {subnet}: too small, use /30 or larger")
    for name, text in config.reserved.items():
        made.reserved[name] = str(_host(f"--aux-address {name}", text, subnet))
    if config.gateway:
        made.gateway = str(_host("--gateway", config.gateway, subnet))
    else:
        made.gateway = next_free(made, (), None)
    return made


def _within(inner: Subnet, outer: Subnet) -> bool:
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False


def _host(where: str, text: str, subnet: Subnet) -> Address:
    """An address of a subnet that a host may have. Raises InvalidSpec."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidSpec(f"{where}: {text[:60]!r} is not an IP address") from None
    if address not in subnet:
        raise InvalidSpec(f"{where} {address}: is not within --subnet {subnet}")
    if address == subnet.network_address or (
        address == subnet.broadcast_address and address.version == 4
    ):
        raise InvalidSpec(f"{where} {address}: is not a host address of --subnet {subnet}")
    return address


def overlapping(subnet: Subnet, others: Iterable[Subnet]) -> Subnet | None:
    """The first of `others` that overlaps."""
    for other in others:
        if subnet.version == other.version and subnet.overlaps(other):
            return other
    return None


def parse(configs: Iterable[IPAMConfig]) -> list[Subnet]:
    """The subnets of resolved configurations."""
    return [ipaddress.ip_network(config.subnet) for config in configs if config.subnet]


def of_version(configs: Sequence[IPAMConfig], version: int) -> IPAMConfig | None:
    """The resolved configuration of IPv4 or IPv6."""
    for config in configs:
        if config.subnet and (":" in config.subnet) == (version == 6):
            return config
    return None


def next_free(config: IPAMConfig, used: Collection[str], last: str | None) -> str:
    """The next free address after `last`, round and round. Raises ResourceExhausted."""
    subnet = ipaddress.ip_network(config.subnet)
    pool = ipaddress.ip_network(config.range or config.subnet)
    ends = 1 if subnet.version == 4 else 0
    low = max(int(pool.network_address), int(subnet.network_address) + 1)
    high = min(int(pool.broadcast_address), int(subnet.broadcast_address) - ends)
    taken = {int(ipaddress.ip_address(text)) for text in (*used, *config.reserved.values())}
    if config.gateway:
        taken.add(int(ipaddress.ip_address(config.gateway)))
    number = int(ipaddress.ip_address(last)) if last else low - 1
    # With more tries than addresses are taken, one of them is free.
    for _ in range(min(high - low + 1, len(taken) + 2)):
        number = number + 1 if low <= number + 1 <= high else low
        if number not in taken:
            return str(type(subnet.network_address)(number))
    raise ResourceExhausted(f"no free address in {pool}: remove containers or use a larger subnet")


def check(config: IPAMConfig, text: str, used: Collection[str], network: str) -> str:
    """A fixed address that is asked for, in its shortest form.

    Raises InvalidSpec, AlreadyExists for one that is taken.
    """
    address = _host(f"network {network}: address", text, ipaddress.ip_network(config.subnet))
    if str(address) in used:
        raise AlreadyExists(f"address {address} of network {network} is already in use")
    if config.gateway and address == ipaddress.ip_address(config.gateway):
        raise AlreadyExists(f"address {address} is the gateway of network {network}")
    return str(address)
