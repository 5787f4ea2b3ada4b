"""Subnets of networks beside what the nodes' hosts reach by ways of their own."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from swarmlite.proto.objects_pb2 import Node

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Route:
    """One that a node has told of."""

    subnet: Subnet
    interface: str
    node: str

    def __str__(self) -> str:
        by = f" by {self.interface}" if self.interface else ""
        return f"the route to {self.subnet}{by} of node {self.node}"


def of_nodes(nodes: Iterable[Node]) -> Iterator[Route]:
    """All that nodes of the swarm have told."""
    for node in nodes:
        for route in node.description.routes:
            try:
                subnet = ipaddress.ip_network(route.destination)
            except ValueError:
                continue
            yield Route(subnet, route.interface, node.description.hostname or node.id)


def overlapped(subnet: Subnet, routes: Iterable[Route]) -> Route | None:
    """A route that leads where a network of this subnet would: its hosts' packets would be lost."""
    for route in routes:
        if route.subnet.version == subnet.version and route.subnet.overlaps(subnet):
            return route
    return None
