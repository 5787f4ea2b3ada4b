"""Networks: their subnets are the allocator's to give."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network

from swarmlite.errors import AlreadyExists, FailedPrecondition
from swarmlite.ids import new_id
from swarmlite.manager.dispatcher.items import awaits_subnet
from swarmlite.manager.store.api import Resync
from swarmlite.model import defaults, encryption, names, routes, task_states
from swarmlite.model.references import network_targets
from swarmlite.model.validate import validate_network
from swarmlite.proto.control_pb2 import (
    CreateNetworkRequest,
    Empty,
    GetRequest,
    ListNetworksResponse,
    ListRequest,
    RemoveRequest,
)
from swarmlite.proto.objects_pb2 import Network, Task
from swarmlite.proto.types_pb2 import IPAMConfig, NodeStatus

from .api import Api, check_free, resolve
from .filters import STACK_LABEL, Holds, compile_filters, has_label, one_of

REMOVAL_WAIT_S = 20.0
"""How long a removal waits for tasks of services that are gone already: grace periods are 10 s."""


FILTERS: Mapping[str, Holds[Network]] = {
    "id": lambda network, value: network.id.startswith(value),
    "name": lambda network, value: network.spec.annotations.name.startswith(value),
    "label": lambda network, value: has_label(network.spec.annotations.labels, value),
    "driver": lambda network, value: network.spec.driver.name == value,
    "scope": lambda network, value: network.spec.scope == value,
    "type": lambda network, value: value == "custom",
    "stack": lambda network, value: network.spec.annotations.labels.get(STACK_LABEL) == value,
}
READ = {"type": one_of("type", "custom", "builtin")}


Subnet = IPv4Network | IPv6Network


def _subnet(config: IPAMConfig) -> Subnet | None:
    return ip_network(config.subnet, strict=False) if config.subnet else None


def _overlap(one: Subnet, other: Subnet) -> bool:
    return one.version == other.version and one.overlaps(other)


class Networks:
    """The calls on networks."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, request: GetRequest) -> Network:
        """One network."""
        return resolve("network", self._api.view.networks, request.ref)

    def list(self, request: ListRequest) -> ListNetworksResponse:
        """Networks that pass the filters."""
        matches = compile_filters("networks", request.filters, FILTERS, READ)
        return ListNetworksResponse(networks=[n for n in self._api.view.networks if matches(n)])

    async def create(self, request: CreateNetworkRequest) -> Network:
        """A new network."""
        validate_network(request.spec)
        network = Network(id=new_id(), spec=defaults.fill_network(request.spec))
        async with self._api.naming:
            check_free("network", self._api.view.networks, network.spec.annotations.name)
            self._check_subnets(network)
            self._check_routes(network)
            self._check_encryption(network)
            if network.spec.ingress and (other := self._ingress()):
                raise AlreadyExists(
                    f"network {other.spec.annotations.name} is the ingress network; there is one"
                )
            return await self._api.put(network)

    async def remove(self, request: RemoveRequest) -> Empty:
        """Remove a network that nothing uses.

        Tasks whose service is gone are waited for, so that a service and its network can be removed
        one right after the other.
        """
        network = resolve("network", self._api.view.networks, request.ref)
        self._check_unused(network)
        try:
            async with asyncio.timeout(REMOVAL_WAIT_S):
                await self._tasks_ended(network)
        except TimeoutError as error:
            task = next(self._live_tasks(network), None)
            name = names.short_task_name(task) if task else "a task"
            raise FailedPrecondition(
                f"network {network.spec.annotations.name} is in use by task {name}"
            ) from error
        async with self._api.naming:
            await self._api.remove(network, self._check_unused)
        return Empty()

    def _check_subnets(self, network: Network) -> None:
        """Raise AlreadyExists for a subnet that overlaps another network's."""
        name = network.spec.annotations.name
        for wanted in map(_subnet, network.spec.ipam.configs):
            for other in self._api.view.networks:
                for taken in map(_subnet, other.ipam.configs or other.spec.ipam.configs):
                    if wanted and taken and _overlap(wanted, taken):
                        raise AlreadyExists(
                            f"network {name}: subnet {wanted} overlaps {taken} of network"
                            f" {other.spec.annotations.name}"
                        )

    def _check_routes(self, network: Network) -> None:
        """Raise FailedPrecondition for a subnet that a node reaches by a way of its own."""
        if not awaits_subnet(network):
            return
        wanted = [s for s in map(_subnet, network.spec.ipam.configs) if s is not None]
        found = list(routes.of_nodes(self._api.view.nodes)) if wanted else []
        for subnet in wanted:
            if (route := routes.overlapped(subnet, found)) is not None:
                raise FailedPrecondition(
                    f"network {network.spec.annotations.name}: subnet {subnet} overlaps {route}"
                )

    def _check_encryption(self, network: Network) -> None:
        """Raise FailedPrecondition, with its name, for a node that cannot encrypt."""
        if not encryption.is_encrypted(network):
            return
        displaced = encryption.displaced(self._api.view.nodes)
        for node in self._api.view.nodes:
            if node.status.state != NodeStatus.READY:
                continue
            if reason := encryption.hindrance(node) or displaced.get(node.id):
                raise FailedPrecondition(
                    f"network {network.spec.annotations.name}: node {node.description.hostname}"
                    f" cannot take part in an encrypted network: {reason}"
                )

    def _ingress(self) -> Network | None:
        return next((n for n in self._api.view.networks if n.spec.ingress), None)

    def _check_unused(self, network: Network) -> None:
        name = network.spec.annotations.name
        for service in self._api.view.services:
            attached = network.id in network_targets(service.spec.task)
            ports = service.spec.endpoint.ports
            published = network.spec.ingress and any(p.publish_mode == p.INGRESS for p in ports)
            if attached or published:
                raise FailedPrecondition(
                    f"network {name} is in use by service {service.spec.annotations.name}"
                )
        for task in self._live_tasks(network):
            if task_states.is_attachment(task):
                node = self._api.view.nodes.get(task.node_id)
                host = node.description.hostname if node else task.node_id
                raise FailedPrecondition(
                    f"network {name} is in use by container {task.annotations.name} on node {host}"
                )

    async def _tasks_ended(self, network: Network) -> None:
        async with self._api.store.subscribe("task") as subscription:
            while next(self._live_tasks(network), None) is not None:
                try:
                    await anext(aiter(subscription))
                except Resync:
                    continue

    def _live_tasks(self, network: Network) -> Iterator[Task]:
        for task in self._api.view.tasks:
            attached = any(n.network_id == network.id for n in task.networks)
            if attached and not self._ended(task):
                yield task

    def _ended(self, task: Task) -> bool:
        """Whether the task has let go of its networks; of a node that is gone nobody will say."""
        if task_states.is_terminal(task.status.state):
            return True
        node = self._api.view.nodes.get(task.node_id)
        gone = node is None or node.status.state == NodeStatus.DOWN
        return gone and task.desired_state > task_states.RUNNING
