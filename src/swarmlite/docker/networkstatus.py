"""How many addresses of a network are taken and free, as its inspect says since 1.52."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from swarmlite.docker.values import Json
from swarmlite.model import task_states
from swarmlite.proto.objects_pb2 import Network, Service, Task

MOST = 2**64 - 1
"""What Docker's counters end at: a /64 of IPv6 has one more."""


def status(shown: Json, held: Iterable[str]) -> Json:
    """Of a network in Docker's shape, `held` its endpoints' addresses, with or without a prefix."""
    taken = {ipaddress.ip_address(text.partition("/")[0]) for text in held if text}
    return {
        "IPAM": {
            "Subnets": {
                config["Subnet"]: _subnet(config, taken)
                for config in shown["IPAM"]["Config"]
                if config.get("Subnet")
            }
        }
    }


def _subnet(config: Json, held: set[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> Json:
    subnet = ipaddress.ip_network(config["Subnet"])
    pool = ipaddress.ip_network(config.get("IPRange") or config["Subnet"])
    own = [config.get("Gateway", ""), *config.get("AuxiliaryAddresses", {}).values()]
    taken = held | {ipaddress.ip_address(text.partition("/")[0]) for text in own if text}
    taken.add(subnet.network_address)
    if subnet.version == 4:
        taken.add(subnet.broadcast_address)
    free = pool.num_addresses - sum(address in pool for address in taken)
    return {
        "IPsInUse": min(sum(address in subnet for address in taken), MOST),
        "DynamicIPsAvailable": min(free, MOST),
    }


def held_in_swarm(
    network: Network, services: Iterable[Service], tasks: Iterable[Task]
) -> Iterable[str]:
    """Addresses of a network of the swarm: of tasks that have not ended, and of services' VIPs."""
    for task in tasks:
        if task_states.is_terminal(task.status.state):
            continue
        for place in task.networks:
            if place.network_id == network.id:
                yield from place.addresses
    for service in services:
        for vip in service.endpoint.virtual_ips:
            if vip.network_id == network.id:
                yield vip.addr
