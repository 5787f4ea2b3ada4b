"""A published port that a host's kernel refuses is said by the tasks of its service."""

from __future__ import annotations

from agent_node import AgentNode

from swarmlite.model import task_states
from swarmlite.proto.dispatcher_pb2 import Endpoint, VirtualService
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import TaskStatus


def ingress() -> Network:
    network = Network(id="in")
    network.spec.annotations.name = "ingress"
    network.spec.ingress = True
    network.driver_state.name = "overlay"
    network.driver_state.options["vni"] = "4096"
    network.ipam.configs.add(subnet="10.0.0.0/24", gateway="10.0.0.1")
    return network


async def test_a_task_says_that_its_services_port_is_refused_and_runs(node: AgentNode) -> None:
    """In its status's error, until the service is mended."""
    task = node.task("exec sleep 600")
    task.service_id = "s1"
    own = Endpoint(
        id=f"in/node/{node.node_id}", network_id="in", addr="10.0.0.200/24",
        mac="02:42:0a:00:00:c8", node_id=node.node_id, node_addr="10.250.0.2",
    )  # fmt: skip
    service = VirtualService(id="s1", name="web")
    service.ingress_ports.add(target_port=80, published_port=9000, host_ip="1.2.3.999")
    node.manager.assign(ingress(), own, service, task)

    def last(wrong: bool) -> TaskStatus | None:
        for status in node.manager.history.get(task.id, [])[-1:]:
            if status.state == task_states.RUNNING and bool(status.err) == wrong:
                return status
        return None

    status: TaskStatus = await node.manager.until(lambda: last(True), "the reason")
    assert status.err.startswith("published ports: nftables refused")
    service.ingress_ports[0].host_ip = ""
    node.manager.assign(service)
    await node.manager.until(lambda: last(False), "the reason to go")
