"""What a node that joins costs where 100 services are published: the 1,000th as the first ones.

Agents are simulated: what is measured is the managers' side, and what they tell a node.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmlite.proto.control_pb2 import CreateServiceRequest, ListRequest
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.proto.types_pb2 import PortConfig

from .simulated_swarm import CALL_S, SimulatedSwarm
from .table import Row, ratio_row

PUBLISHED, FIRST, STEPS, NODES = 100, 100, 4, 1000
INGRESS = "10.0.0.0/16"
"""A /24, as it is made with the swarm, has no room for an address of each node."""
WAIT_S = 120.0


@dataclass
class _Cost:
    """Of one node, in the mean of those that joined together."""

    cpu_ms: float
    told_bytes: float


def measure() -> list[Row]:
    """Both rows. Raises RuntimeError."""
    with SimulatedSwarm(FIRST) as swarm:
        swarm.cluster.manager.cli("network", "rm", "-f", "ingress")
        swarm.cluster.manager.cli(
            "network", "create", "--ingress", "-d", "overlay", "--subnet", INGRESS, "ingress"
        )
        for number in range(PUBLISHED):
            _publish(swarm, f"published{number}", 8000 + number)
        swarm.until(lambda: _running(swarm) == PUBLISHED, WAIT_S)
        step = (NODES - FIRST) // STEPS
        costs = [_grow(swarm, step) for _ in range(STEPS)]
    first, last = costs[0], costs[-1]
    what = f"{{}}, each of the last {step} of {NODES:,} nodes that join, against the first {step}"
    where = f", {PUBLISHED} services published"
    return [
        ratio_row(what.format("the manager's CPU time") + where, "ms", last.cpu_ms, first.cpu_ms,
                  at_most=1.5),
        ratio_row(what.format("what a node is told at first") + where, "bytes", last.told_bytes,
                  first.told_bytes, at_most=1.1),
    ]  # fmt: skip


def _publish(swarm: SimulatedSwarm, name: str, port: int) -> None:
    spec = ServiceSpec()
    spec.annotations.name = name
    spec.task.container.image = "busybox:latest"
    spec.replicated.replicas = 1
    spec.endpoint.ports.add(
        protocol=PortConfig.TCP,
        target_port=80,
        published_port=port,
        publish_mode=PortConfig.INGRESS,
    )
    swarm.control.CreateService(CreateServiceRequest(spec=spec), timeout=CALL_S)


def _running(swarm: SimulatedSwarm) -> int:
    answer = swarm.control.ListServices(ListRequest(), timeout=CALL_S)
    return sum(int(status.running_tasks) for status in answer.status.values())


def _grow(swarm: SimulatedSwarm, count: int) -> _Cost:
    """The manager's time includes what it tells the other nodes of the new ones."""
    before = swarm.cpu_s()
    told = swarm.grow(count)
    return _Cost(1e3 * (swarm.cpu_s() - before) / count, told / count)
