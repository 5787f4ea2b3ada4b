"""What the managers know of networks, as a node is told it: who is where, and who answers what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarmlite.cli import client
from swarmlite.cli.session import Session
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.manager.dispatcher import items
from swarmlite.model import names, task_states
from swarmlite.network.view import View
from swarmlite.proto.control_pb2 import Filter, ListRequest, ListTasksRequest
from swarmlite.proto.objects_pb2 import Network, Node, Service, Task


@dataclass(frozen=True)
class Seen:
    """The cluster's networks and who is on them; tasks that have ended are left out."""

    networks: Sequence[Network]
    services: Sequence[Service]
    tasks: Sequence[Task]
    nodes: Mapping[str, Node]

    def network(self, ref: str) -> Network:
        """By name, id or a prefix of the id. Raises NotFound."""
        for network in self.networks:
            if ref in (network.id, network.spec.annotations.name):
                return network
        found = [network for network in self.networks if network.id.startswith(ref)]
        if len(found) != 1:
            raise NotFound(f"network {ref} not found")
        return found[0]

    def task(self, ref: str) -> Task:
        """By id, a prefix of it, or name (web.1). Raises NotFound, InvalidSpec."""
        for task in self.tasks:
            if ref in (task.id, names.short_task_name(task), names.full_task_name(task)):
                return task
        found = [task for task in self.tasks if task.id.startswith(ref)]
        if not found:
            raise NotFound(f"no task {ref} runs")
        if len(found) > 1:
            raise InvalidSpec(f"task {ref} is ambiguous: use a longer id prefix")
        return found[0]

    def host(self, node_id: str) -> str:
        """A node's host name, its id where it has none."""
        node = self.nodes.get(node_id)
        return (node.description.hostname if node else "") or node_id

    def view(self) -> View:
        """All of it, as a node sees what it is told."""
        made = View("")
        ingress = next((n.id for n in self.networks if n.spec.ingress), "")
        changes = [items.update(network) for network in self.networks]
        for service in self.services:
            on = items.service_networks(service, ingress)
            changes.append(items.update(items.virtual_service(service, on)))
        for task in self.tasks:
            found = items.task_endpoints(task, self.nodes.get(task.node_id))
            changes += [items.update(endpoint) for endpoint in found]
        for node in self.nodes.values():
            changes += [items.update(endpoint) for endpoint in items.node_endpoints(node)]
        made.take(changes)
        return made


def see(session: Session) -> Seen:
    """As the manager of this node has it now. Raises what its calls raise."""
    control = session.control
    everything = ListRequest()
    running = ListTasksRequest(filters=[Filter(key="desired-state", values=["running"])])
    tasks = client.call(control.ListTasks, running).tasks
    return Seen(
        client.call(control.ListNetworks, everything).networks,
        client.call(control.ListServices, everything).services,
        [task for task in tasks if not task_states.is_terminal(task.status.state)],
        {node.id: node for node in client.call(control.ListNodes, everything).nodes},
    )
