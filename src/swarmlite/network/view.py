"""What the managers said to this node, indexed: pure, no I/O.

Every query answers from the latest of what was applied. `take` says what a change touches, so that
the wiring of nothing else is computed again.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Endpoint, VirtualService
from swarmlite.proto.objects_pb2 import Network

HOST_DRIVERS = frozenset({"host"})
EGRESS_DRIVERS = frozenset({"bridge"})
HOST_MADE_DRIVERS = frozenset({"bridge", "macvlan", "ipvlan"})
"""Of networks of the managers that each host makes for itself."""
NULL_DRIVERS = frozenset({"null", "none"})


def host_of(cidr: str) -> str:
    """The address of `10.0.0.3/24`, or of one without a length."""
    return cidr.partition("/")[0]


def driver_of(network: Network | None) -> str:
    """overlay unless the network names another."""
    if network is None:
        return "overlay"
    return network.driver_state.name or network.spec.driver.name or "overlay"


def made_by_hosts(network: Network | None) -> bool:
    """Whether it is a network of the managers that each host makes for itself."""
    return network is not None and driver_of(network) in HOST_MADE_DRIVERS


@dataclass
class Touched:
    """What a batch of changes makes stale."""

    networks: set[str] = field(default_factory=set)
    """Names or backends on these changed, or what follows."""
    peers: set[str] = field(default_factory=set)
    """On these, which addresses there are, or where they are."""
    services: set[str] = field(default_factory=set)
    """Services whose VIPs, ports or backends changed."""
    gone: set[tuple[str, str]] = field(default_factory=set)
    """(network, address) of endpoints that are no more."""
    ingress: bool = False

    def __bool__(self) -> bool:
        """Whether anything is stale."""
        return bool(self.networks or self.services or self.gone or self.ingress)

    def merge(self, other: Touched) -> None:
        """Add what `other` names."""
        self.networks |= other.networks
        self.peers |= other.peers
        self.services |= other.services
        self.gone |= other.gone
        self.ingress |= other.ingress


class View:
    """Networks, endpoints and services, by id and by what the wiring asks for."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.version = 0
        """Another one whenever anything may have changed."""
        self._peers: dict[str, int] = {}
        self._node_addresses: dict[str, int] = {}
        self._nodes_known: tuple[frozenset[str], frozenset[str]] | None = None
        self.networks: dict[str, Network] = {}
        self.services: dict[str, VirtualService] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._by_network: dict[str, dict[str, Endpoint]] = {}
        self._by_service: dict[tuple[str, str], dict[str, Endpoint]] = {}
        self._services_on: dict[str, set[str]] = {}
        self._backends: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
        """Of IPv4 and of IPv6, of those services that were asked for since they changed."""

    # changes
    def take(self, changes: Iterable[AssignmentChange]) -> Touched:
        """Apply changes in order."""
        self.version += 1
        touched = Touched()
        for change in changes:
            item = change.WhichOneof("item")
            remove = change.action == AssignmentChange.REMOVE
            if item == "network":
                self._network(change.network, remove, touched)
            elif item == "endpoint":
                self._endpoint(change.endpoint, remove, touched)
            elif item == "virtual_service":
                self._service(change.virtual_service, remove, touched)
        return touched

    def replace(
        self,
        networks: Mapping[str, Network],
        endpoints: Mapping[str, Endpoint],
        services: Mapping[str, VirtualService],
    ) -> Touched:
        """Make this the whole truth; what did not change touches nothing."""
        self.version += 1
        touched = Touched()
        for old_service in [s for i, s in self.services.items() if i not in services]:
            self._service(old_service, True, touched)
        for old_endpoint in [e for i, e in self._endpoints.items() if i not in endpoints]:
            self._endpoint(old_endpoint, True, touched)
        for old_network in [n for i, n in self.networks.items() if i not in networks]:
            self._network(old_network, True, touched)
        for network in networks.values():
            self._network(network, False, touched)
        for endpoint in endpoints.values():
            self._endpoint(endpoint, False, touched)
        for service in services.values():
            self._service(service, False, touched)
        return touched

    def _network(self, network: Network, remove: bool, touched: Touched) -> None:
        old = self.networks.get(network.id)
        if remove:
            if self.networks.pop(network.id, None) is None:
                return
        elif old == network:
            return
        else:
            self.networks[network.id] = network
        touched.networks.add(network.id)
        touched.peers.add(network.id)
        touched.ingress |= network.spec.ingress or (old is not None and old.spec.ingress)

    def _endpoint(self, endpoint: Endpoint, remove: bool, touched: Touched) -> None:
        old = self._endpoints.get(endpoint.id)
        if old == endpoint and not remove:
            return
        for known in (old, endpoint):
            if known is not None:
                self._backends.pop((known.network_id, known.service_id), None)
        if old is None or remove or _place(old) != _place(endpoint):
            touched.peers |= {known.network_id for known in (old, endpoint) if known is not None}
        if old is not None:
            self._forget(old)
            self._touch(old, touched)
            for before, after in ((old.addr, endpoint.addr), (old.addr6, endpoint.addr6)):
                if before and (remove or host_of(after) != host_of(before)):
                    touched.gone.add((old.network_id, host_of(before)))
        if remove:
            return
        self._endpoints[endpoint.id] = endpoint
        self._count(endpoint, 1)
        self._by_network.setdefault(endpoint.network_id, {})[endpoint.id] = endpoint
        if endpoint.service_id:
            key = (endpoint.network_id, endpoint.service_id)
            self._by_service.setdefault(key, {})[endpoint.id] = endpoint
        touched.gone.discard((endpoint.network_id, host_of(endpoint.addr)))
        self._touch(endpoint, touched)

    def _forget(self, old: Endpoint) -> None:
        del self._endpoints[old.id]
        self._count(old, -1)
        del self._by_network[old.network_id][old.id]
        if old.service_id:
            key = (old.network_id, old.service_id)
            self._by_service[key].pop(old.id, None)
            if not self._by_service[key]:
                del self._by_service[key]

    def _count(self, endpoint: Endpoint, by: int) -> None:
        """Of the endpoints that name each address of a node: none is looked for among all."""
        own = [endpoint.node_addr] if endpoint.node_addr else []
        for counts, addresses in ((self._peers, own), (self._node_addresses, endpoint.node_addrs)):
            for address in addresses:
                counts[address] = counts.get(address, 0) + by
                if not counts[address]:
                    del counts[address]
        self._nodes_known = None

    def _touch(self, endpoint: Endpoint, touched: Touched) -> None:
        touched.networks.add(endpoint.network_id)
        if endpoint.service_id:
            touched.services.add(endpoint.service_id)
        touched.ingress |= self.is_ingress(endpoint.network_id)

    def _service(self, service: VirtualService, remove: bool, touched: Touched) -> None:
        old = self.services.get(service.id)
        if old == service and not remove:
            return
        for known in (old, None if remove else service):
            if known is None:
                continue
            touched.services.add(known.id)
            touched.networks |= {vip.network_id for vip in known.vips}
            touched.networks |= {alias.network_id for alias in known.aliases}
            touched.ingress |= bool(known.ingress_ports)
        if old is not None:
            for network_id in _networks_of(old):
                self._services_on[network_id].discard(old.id)
        if remove:
            self.services.pop(service.id, None)
            return
        self.services[service.id] = service
        for network_id in _networks_of(service):
            self._services_on.setdefault(network_id, set()).add(service.id)

    # queries
    def is_ingress(self, network_id: str) -> bool:
        """Whether published ports are reached over this network."""
        network = self.networks.get(network_id)
        return network is not None and network.spec.ingress

    def ingress(self) -> Network | None:
        """The ingress network, if the node knows of one."""
        return next((n for n in self.networks.values() if n.spec.ingress), None)

    def all_endpoints(self) -> Iterable[Endpoint]:
        """Of every network."""
        return self._endpoints.values()

    def endpoints(self, network_id: str) -> list[Endpoint]:
        """All on one network, the nodes' own too."""
        return list(self._by_network.get(network_id, {}).values())

    def services_on(self, network_id: str) -> list[VirtualService]:
        """The services that have a VIP or an alias on a network, ordered by id."""
        return [self.services[i] for i in sorted(self._services_on.get(network_id, ()))]

    def service_endpoints(self, network_id: str, service_id: str) -> list[Endpoint]:
        """A service's endpoints on one network, in a stable order."""
        found = self._by_service.get((network_id, service_id), {})
        return [found[key] for key in sorted(found)]

    def backends(self, network_id: str, service_id: str, *, six: bool = False) -> list[str]:
        """The addresses that take new connections of a service on one network.

        `six`: those of IPv6. The same list until they change: not the caller's to change.
        """
        key = (network_id, service_id)
        found = self._backends.get(key)
        if found is None:
            there = [e for e in self.service_endpoints(*key) if e.in_rotation]
            found = self._backends[key] = (
                [host_of(e.addr) for e in there],
                [host_of(e.addr6) for e in there if e.addr6],
            )
        return found[six]

    def peers(self) -> frozenset[str]:
        """The data path addresses of all nodes that are known from endpoints."""
        return self._of_nodes()[0]

    def node_addresses(self) -> frozenset[str]:
        """All addresses that the nodes said they have, of both families."""
        return self._of_nodes()[1]

    def _of_nodes(self) -> tuple[frozenset[str], frozenset[str]]:
        if self._nodes_known is None:
            self._nodes_known = frozenset(self._peers), frozenset(self._node_addresses)
        return self._nodes_known

    def own_endpoint(self, network_id: str) -> Endpoint | None:
        """This node's own place on a network."""
        return self._by_network.get(network_id, {}).get(f"{network_id}/node/{self.node_id}")


def _place(endpoint: Endpoint) -> tuple[object, ...]:
    """What other hosts' kernels are told of an endpoint."""
    return (
        endpoint.network_id,
        endpoint.addr,
        endpoint.addr6,
        endpoint.mac,
        endpoint.node_id,
        endpoint.node_addr,
        endpoint.node_key,
        endpoint.node_key_port,
    )


def _networks_of(service: VirtualService) -> set[str]:
    return {vip.network_id for vip in service.vips} | {a.network_id for a in service.aliases}


def subnets_of(network: Network) -> list[str]:
    """All subnets of a network, IPv4 and IPv6, as CIDRs without host bits."""
    found = []
    for config in network.ipam.configs:
        with contextlib.suppress(ValueError):
            found.append(str(ipaddress.ip_network(config.subnet, strict=False)))
    return found


def subnet_of(network: Network) -> ipaddress.IPv4Network | None:
    """The first IPv4 subnet of a network."""
    for config in network.ipam.configs:
        try:
            return ipaddress.IPv4Network(config.subnet, strict=False)
        except ValueError:
            continue
    return None
