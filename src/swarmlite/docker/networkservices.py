"""Who is on a network of the swarm: its nodes and services, as `inspect --verbose` shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from swarmlite.docker.values import Json, word
from swarmlite.model.names import endpoint_id, task_name
from swarmlite.proto.objects_pb2 import Network, Node, Service, Task
from swarmlite.proto.types_pb2 import PortConfig, TaskState


def peers(network: Network, nodes: Sequence[Node], tasks: Iterable[Task]) -> list[Json]:
    """Nodes that have tasks on the network, by name; of the ingress network all nodes."""
    here = {task.node_id for task in tasks if _is_on(task, network)}
    if network.spec.ingress:
        here |= {node.id for node in nodes}
    return sorted(
        ({"Name": node.id[:12], "IP": _address(node)} for node in nodes if node.id in here),
        key=lambda peer: peer["Name"],
    )


def _address(node: Node) -> str:
    return node.description.data_path_addr or node.status.addr


def services(
    network: Network, services: Iterable[Service], tasks: Sequence[Task], nodes: Sequence[Node]
) -> Json:
    """By name: the service's VIP on the network, its ports and tasks."""
    hosts = {node.id: _address(node) for node in nodes}
    return {
        service.spec.annotations.name: _service(network, service, tasks, hosts)
        for service in services
        if any(n.target == network.id for n in service.spec.task.networks)
        or any(v.network_id == network.id for v in service.endpoint.virtual_ips)
    }


def _service(
    network: Network, service: Service, tasks: Sequence[Task], hosts: dict[str, str]
) -> Json:
    vips = [v.addr for v in service.endpoint.virtual_ips if v.network_id == network.id]
    return {
        "VIP": vips[0].partition("/")[0] if vips else "",
        "Ports": [_port(port) for port in service.endpoint.ports],
        "LocalLBIndex": 0,
        "Tasks": [
            {
                "Name": task_name(service.spec.annotations.name, task.slot, task.node_id, task.id),
                "EndpointID": endpoint_id(task.status.container.container_id, network.id),
                "EndpointIP": _place(task, network).partition("/")[0],
                "Info": {"Host IP": hosts.get(task.node_id, "")},
            }
            for task in tasks
            if task.service_id == service.id and _is_on(task, network)
        ],
    }


def _port(value: PortConfig) -> str:
    protocol = word(PortConfig.Protocol.Name(value.protocol))
    return f"Target: {value.target_port}, Publish: {value.published_port}, {protocol}"


def _place(task: Task, network: Network) -> str:
    found = (n for n in task.networks if n.network_id == network.id)
    return next((address for place in found for address in place.addresses), "")


def _is_on(task: Task, network: Network) -> bool:
    running = task.status.state == TaskState.TASK_STATE_RUNNING
    return running and any(n.network_id == network.id for n in task.networks)
