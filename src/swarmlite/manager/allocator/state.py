"""What is taken: rebuilt from the store, then kept in step with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

from swarmlite.errors import AlreadyExists, InvalidSpec, ResourceExhausted
from swarmlite.model.task_states import RUNNING
from swarmlite.proto.objects_pb2 import Cluster, Network, Node, Service, Task
from swarmlite.proto.types_pb2 import IPAMConfig

from ..store.tables import Tables
from .ipam import AddressPool, NumberPool, SubnetPool, parse_address, parse_network
from .ports import PublishedPorts

DEFAULT_POOL = "10.0.0.0/8"
DEFAULT_SUBNET_SIZE = 24
FIRST_VNI, LAST_VNI = 4096, (1 << 24) - 1
PREDEFINED = frozenset({"host", "bridge", "none"})
"""Networks of each node's own, which need nothing from the managers."""

Given = tuple[str, int]
"""An address as a CIDR and as a number."""


def needs_addresses(network: Network) -> bool:
    """Whether the managers give addresses of this network; else each node does."""
    return network.spec.driver.name in ("", "overlay") and not network.spec.config_only


def is_allocated(network: Network) -> bool:
    """Whether a network has all that its spec lets the allocator choose."""
    return "vni" in network.driver_state.options and len(network.ipam.configs) > 0


def find_network(view: Tables, target: str) -> Network | None:
    """A network by id, else by name."""
    network = view.networks.get(target)
    if network is None:
        network = next(iter(view.networks.named(target)), None)
    return network


def ingress_network(view: Tables) -> Network | None:
    """The network of published ports, or None."""
    return next((n for n in view.networks if n.spec.ingress and not n.pending_delete), None)


class State:
    """Subnets, VNIs, addresses and ports with their owners ("task/ID", "service/ID", "node/ID")."""

    def __init__(self, view: Tables) -> None:
        self.subnets = subnet_pool(view.cluster)
        self.vnis = NumberPool(FIRST_VNI, LAST_VNI, "VNI")
        self.ports = PublishedPorts()
        self.pools: dict[str, list[AddressPool]] = {}
        self._held: defaultdict[str, list[tuple[AddressPool, int]]] = defaultdict(list)
        for network in view.networks:
            if is_allocated(network):
                self.add_network(network)
        for service in view.services:
            self.hold_service(service)
        for node in view.nodes:
            self.hold_attachments(f"node/{node.id}", node)
        for task in view.tasks:
            if task.status.state <= RUNNING:
                self.hold_attachments(f"task/{task.id}", task)
        for pools in self.pools.values():
            for pool in pools:
                pool.skip_used()

    def add_network(self, network: Network) -> None:
        """Note an allocated network's subnets, VNI, gateways and reserved addresses."""
        with suppress(AlreadyExists):
            self.vnis.take(int(network.driver_state.options["vni"]))
        pools = []
        for config in network.ipam.configs:
            subnet = parse_network(config.subnet)
            with suppress(AlreadyExists):
                self.subnets.take(subnet, network.spec.annotations.name)
            pools.append(address_pool(config))
        self.pools[network.id] = pools

    def remove_network(self, network: Network) -> None:
        """Give back what a network had; safe to repeat."""
        self.pools.pop(network.id, None)
        for config in network.ipam.configs:
            self.subnets.release(parse_network(config.subnet))
        if "vni" in network.driver_state.options:
            self.vnis.release([int(network.driver_state.options["vni"])])

    def hold_service(self, service: Service) -> None:
        """Note what the store says a service has."""
        for vip in service.endpoint.virtual_ips:
            self._hold(f"service/{service.id}", vip.network_id, vip.addr)
        self.ports.take(service.id, service.endpoint.ports)

    def hold_attachments(self, owner: str, obj: Task | Node) -> None:
        """Note the addresses that the store says a task or node has."""
        attachments = obj.networks if isinstance(obj, Task) else obj.attachments
        for attachment in attachments:
            for address in attachment.addresses:
                self._hold(owner, attachment.network_id, address)

    def _hold(self, owner: str, network_id: str, text: str) -> None:
        number = parse_address(text)
        for pool in self.pools.get(network_id, ()):
            if pool.is_free(number):
                pool.take(number)
                self._held[owner].append((pool, number))
                return

    def give(self, owner: str, network_id: str, requested: Sequence[str] = ()) -> list[Given]:
        """An address of IPv4, and one of IPv6 where a network has it, or those `requested`.

        Of several subnets the first that has one left gives it.

        Raises ResourceExhausted, AlreadyExists, InvalidSpec; the caller releases the owner.
        """
        pools = self.pools.get(network_id)
        if pools is None:
            raise ResourceExhausted("it has no subnet yet")
        given: list[Given] = []
        numbers = [parse_address(text) for text in requested]
        for text, number in zip(requested, numbers, strict=True):
            if all(number not in pool for pool in pools):
                raise InvalidSpec(f"address {text} is in none of its subnets")
        for version in (4, 6):
            of_version = [pool for pool in pools if pool.subnet.version == version]
            if of_version:
                pool, number = _one(of_version, numbers)
                self._held[owner].append((pool, number))
                given.append((pool.text(number), number))
        return given

    def free(self, network_id: str, text: str) -> bool:
        """Whether an address is one of a network's that nobody has."""
        number = parse_address(text)
        return any(pool.is_free(number) for pool in self.pools.get(network_id, ()))

    def release(self, owner: str) -> bool:
        """Give back all addresses of an owner; answer whether it had any."""
        held = self._held.pop(owner, None)
        for pool, number in held or ():
            pool.release(number)
        return bool(held)


def _one(pools: Sequence[AddressPool], asked: Sequence[int]) -> tuple[AddressPool, int]:
    for pool in pools:
        for number in asked:
            if number in pool:
                pool.take(number)
                return pool, number
    for pool in pools[:-1]:
        with suppress(ResourceExhausted):
            return pool, pool.allocate()
    return pools[-1], pools[-1].allocate()


def subnet_pool(cluster: Cluster | None) -> SubnetPool:
    """The pool that networks without a subnet of their own get theirs from."""
    pools = list(cluster.default_address_pool) if cluster is not None else []
    size = cluster.subnet_size if cluster is not None else 0
    return SubnetPool(
        [parse_network(text) for text in pools or [DEFAULT_POOL]], size or DEFAULT_SUBNET_SIZE
    )


def address_pool(config: IPAMConfig) -> AddressPool:
    """The addresses of a subnet that tasks and services may get."""
    subnet = parse_network(config.subnet)
    pool = AddressPool(subnet, parse_network(config.range) if config.range else None)
    for text in (config.gateway, *config.reserved.values()):
        try:
            pool.take(parse_address(text))
        except (AlreadyExists, InvalidSpec):
            continue  # named twice, or outside of the subnet: nothing to keep free here
    return pool
