"""Networks: subnet, gateway and VNI."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.model import routes
from swarmlite.proto.objects_pb2 import Network, Node
from swarmlite.proto.types_pb2 import IPAMConfig

from .ipam import Network as Subnet
from .ipam import parse_address, parse_network
from .state import State

ULA_PREFIX = "fd53:4c01"
"""Of the subnets that IPv6 networks of a swarm without one of their own get."""
MAX_TRIES = 100


def allocate_network(state: State, network: Network, nodes: Iterable[Node] = ()) -> Network:
    """A copy with all that was left to the allocator.

    A subnet that is chosen here is none that one of the `nodes` reaches by a way of its own, as
    long as there is another. Raises AlreadyExists (its subnet overlaps), ResourceExhausted,
    InvalidSpec; nothing is taken.
    """
    allocated = Network()
    allocated.CopyFrom(network)
    allocated.ipam.CopyFrom(network.spec.ipam)
    if all(":" in config.subnet for config in allocated.ipam.configs):
        allocated.ipam.configs.add()  # every network has IPv4
    if network.spec.ipv6_enabled and all(":" not in c.subnet for c in allocated.ipam.configs):
        allocated.ipam.configs.add(subnet=_own_subnet6(state, network.id))
    name = network.spec.annotations.name
    taken = []
    known = list(routes.of_nodes(nodes))

    def avoid(subnet: Subnet) -> Subnet | None:
        found = routes.overlapped(subnet, known)
        return found.subnet if found is not None else None

    try:
        for config in allocated.ipam.configs:
            if config.subnet:
                subnet = parse_network(config.subnet)
                state.subnets.take(subnet, name)
            else:
                subnet = state.subnets.allocate(name, avoid)
            taken.append(subnet)
            config.subnet = str(subnet)
            config.gateway = _gateway(config)
    except Exception:
        for subnet in taken:
            state.subnets.release(subnet)
        raise
    allocated.driver_state.name = network.spec.driver.name or "overlay"
    allocated.driver_state.options.update(network.spec.driver.options)
    allocated.driver_state.options["vni"] = str(state.vnis.allocate())
    state.add_network(allocated)
    return allocated


def _own_subnet6(state: State, network_id: str) -> str:
    """A /64 of the cluster's own that no network has, from the network's id. RFC 4193."""
    for number in range(MAX_TRIES):
        digest = hashlib.sha256(f"{network_id}/{number}".encode()).hexdigest()
        subnet = parse_network(f"{ULA_PREFIX}:{digest[:4]}:{digest[4:8]}::/64")
        if state.subnets.overlaps(subnet) is None:
            return str(subnet)
    raise ResourceExhausted("no IPv6 subnet is free: give one with --subnet")


def _gateway(config: IPAMConfig) -> str:
    subnet = parse_network(config.subnet)
    if config.gateway:
        if not _inside(config.gateway, config.subnet):
            raise InvalidSpec(f"gateway {config.gateway} is not in subnet {subnet}")
        return config.gateway
    scope = parse_network(config.range) if config.range else subnet
    first = int(scope.network_address)
    return str(type(subnet.network_address)(first + (first == int(subnet.network_address))))


def _inside(address: str, subnet: str) -> bool:
    network = parse_network(subnet)
    return int(network.network_address) <= parse_address(address) <= int(network.broadcast_address)
