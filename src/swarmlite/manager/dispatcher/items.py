"""The items of an assignment: how an object of the store looks to a node that needs it.

Each is made once and shared by all nodes that get it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from swarmlite.errors import InvalidSpec
from swarmlite.model import task_states, templates
from swarmlite.model.names import full_task_name
from swarmlite.model.references import PREDEFINED_NETWORKS
from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Endpoint, VirtualService
from swarmlite.proto.objects_pb2 import Config, Network, Node, Secret, Service, Task
from swarmlite.proto.types_pb2 import NodeStatus, PortConfig

Item = Task | Secret | Config | Network | Endpoint | VirtualService
_FIELDS = {
    Task: "task",
    Secret: "secret",
    Config: "config",
    Network: "network",
    Endpoint: "endpoint",
    VirtualService: "virtual_service",
}


def update(item: Item) -> AssignmentChange:
    """The node gets `item`, new or changed."""
    change = AssignmentChange()
    getattr(change, _FIELDS[type(item)]).CopyFrom(item)
    return change


def remove(field: str, item_id: str) -> AssignmentChange:
    """The node no longer has the item of this kind ("task", "endpoint" ...) and id."""
    change = AssignmentChange(action=AssignmentChange.REMOVE)
    getattr(change, field).id = item_id
    return change


def awaits_subnet(network: Network) -> bool:
    """Whether the allocator has yet to give it one; those that hosts make need none of it."""
    return network.spec.driver.name in ("", "overlay") and not network.ipam.configs


def is_assigned(task: Task) -> bool:
    """Whether the task is its node's: the node may need what it names."""
    return bool(task.node_id) and task.status.state >= task_states.ASSIGNED


def is_sent(task: Task) -> bool:
    """Whether the task's node has to know of it: a mere place on a network is not to be run."""
    return is_assigned(task) and not task_states.is_attachment(task)


def is_live(task: Task) -> bool:
    """Whether the task may still need what it names: it has not ended."""
    return is_assigned(task) and not task_states.is_terminal(task.status.state)


def task_changed(old: Task, new: Task) -> bool:
    """Whether a node has to hear of the change: what it reported itself is no news.

    From ASSIGNED on only the desired state changes: a new spec makes a new task.
    """
    return old.desired_state != new.desired_state or old.node_id != new.node_id


def task_endpoints(
    task: Task, node: Node | None, encrypted: Collection[str] = ()
) -> Iterator[Endpoint]:
    """A live task's endpoints, one a network; none before its node has said where it is.

    `encrypted`: ids of networks on which its node is to be known by its key; none for a node
    whose place there is another's.
    """
    if node is None or not node.description.data_path_addr or not is_live(task):
        return
    rotation = task_states.in_rotation(task) and node.status.state != NodeStatus.DOWN
    hostname = _hostname(task, node)
    name = full_task_name(task)
    container_id = _container_id(task) if rotation else ""
    for attachment in task.networks:
        six = next((address for address in attachment.addresses if ":" in address), "")
        for address in attachment.addresses[:1]:
            yield Endpoint(
                id=f"{attachment.network_id}/{task.id}",
                network_id=attachment.network_id,
                addr=address,
                addr6=six,
                mac=attachment.mac,
                node_id=node.id,
                node_addr=node.description.data_path_addr,
                task_id=task.id,
                service_id=task.service_id,
                service_name=task.service_annotations.name,
                aliases=attachment.aliases,
                in_rotation=rotation,
                hostname=hostname,
                name=name,
                container_id=container_id,
                **(_key(node) if attachment.network_id in encrypted else {}),
            )


def _key(node: Node) -> dict[str, Any]:
    said = node.description.encryption
    return {"node_key": said.public_key, "node_key_port": said.port}


def node_endpoints(node: Node) -> Iterator[Endpoint]:
    """A node's own endpoints: its address on the ingress network."""
    if not node.description.data_path_addr:
        return
    for attachment in node.attachments:
        for address in attachment.addresses[:1]:
            yield Endpoint(
                id=f"{attachment.network_id}/node/{node.id}",
                network_id=attachment.network_id,
                addr=address,
                mac=attachment.mac,
                node_id=node.id,
                node_addr=node.description.data_path_addr,
                node_addrs=node.description.addresses,
            )


def service_networks(service: Service, ingress_id: str) -> frozenset[str]:
    """The networks on which a service is seen."""
    found = {vip.network_id for vip in service.endpoint.virtual_ips}
    found.update(n.target for n in service.spec.task.networks)
    if any(_ingress_ports(service)):
        found.add(ingress_id)
    return frozenset(found - PREDEFINED_NETWORKS - {""})


def virtual_service(service: Service, networks: Iterable[str]) -> VirtualService:
    """A service as nodes of these `networks` (among its own) see it."""
    mine = frozenset(networks)
    item = VirtualService(
        id=service.id,
        name=service.spec.annotations.name,
        mode=service.spec.endpoint.mode,
        vips=[vip for vip in service.endpoint.virtual_ips if vip.network_id in mine],
        ingress_ports=_ingress_ports(service),
    )
    for attachment in service.spec.task.networks:
        if attachment.target in mine and attachment.aliases:
            item.aliases.add(network_id=attachment.target, names=attachment.aliases)
    return item


def _ingress_ports(service: Service) -> list[PortConfig]:
    return [
        port
        for port in service.endpoint.ports
        if port.publish_mode == PortConfig.INGRESS and port.published_port
    ]


def _container_id(task: Task) -> str:
    if task_states.is_attachment(task):
        return task.spec.attachment.container_id
    return task.status.container.container_id


def _hostname(task: Task, node: Node) -> str:
    hostname = task.spec.attachment.hostname or task.spec.container.hostname
    if "{{" not in hostname:
        return hostname
    try:
        return templates.expand(hostname, templates.context_of(task, node))
    except InvalidSpec:
        return ""  # the agent rejects the task and says why
