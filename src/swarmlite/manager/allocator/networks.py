"""Networks: subnet, gateway and VNI."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import IPAMConfig

from .ipam import parse_address, parse_network
from .state import State


def allocate_network(state: State, network: Network) -> Network:
    """A copy with all that was left to the allocator.

    Raises AlreadyExists (its subnet overlaps), ResourceExhausted, InvalidSpec; nothing is taken.
    """
    allocated = Network()
    allocated.CopyFrom(network)
    allocated.ipam.CopyFrom(network.spec.ipam)
    if not allocated.ipam.configs:
        allocated.ipam.configs.add()
    name = network.spec.annotations.name
    taken = []
    try:
        for config in allocated.ipam.configs:
            if config.subnet:
                subnet = parse_network(config.subnet)
                state.subnets.take(subnet, name)
            else:
                subnet = state.subnets.allocate(name)
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
