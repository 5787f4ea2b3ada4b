"""What of the networks outlives an agent, for a start at which no manager answers."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from agent_node import AgentNode

from swarmlite.model import task_states
from swarmlite.proto.dispatcher_pb2 import Endpoint
from swarmlite.proto.objects_pb2 import Network


def overlay(network_id: str = "n1") -> Network:
    network = Network(id=network_id)
    network.spec.annotations.name = "front"
    network.driver_state.name = "overlay"
    network.driver_state.options["vni"] = "4242"
    network.ipam.configs.add(subnet="10.9.0.0/24", gateway="10.9.0.1")
    return network


async def written(path: Path, name: str) -> None:
    """The first set of a session, with nothing in it, is written too."""
    for _ in range(200):
        if path.exists() and name.encode() in path.read_bytes():
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{name} was never written to {path}")


async def test_names_are_answered_after_a_restart_without_managers(node: AgentNode) -> None:
    task = node.task("exec sleep 600")
    task.networks.add(network_id="n1", network_name="front", addresses=["10.9.0.5/24"])
    endpoint = Endpoint(
        id=f"n1/{task.id}", network_id="n1", addr="10.9.0.5/24", task_id=task.id,
        node_id=node.node_id, node_addr="10.250.0.2", service_id="s1", service_name="web",
        aliases=["web"], in_rotation=True,
    )  # fmt: skip
    node.manager.assign(overlay(), endpoint, task)
    await node.manager.status(task.id, task_states.RUNNING)
    await written(node.paths.agent_dir / "networks", "web")
    await node.manager.stop()
    node.end("agent", signal.SIGKILL)
    await node.start_agent()
    for _ in range(50):
        code, output = await node.exec(task.id, "nslookup", "web", "127.0.0.11")
        if code == 0 and "10.9.0.5" in output:
            return
        await asyncio.sleep(0.2)
    pytest.fail(f"web is not answered: {output}")


async def test_managers_are_told_of_the_hosts_routes_and_whether_it_can_encrypt(
    node: AgentNode,
) -> None:
    """With the first word of a session: subnets and tasks are chosen by it."""
    await node.manager.until(lambda: bool(node.manager.hellos), "a session")
    said = node.manager.hellos[-1].description
    assert [(r.destination, r.interface) for r in said.routes] == [("10.250.0.0/24", "eth0")]
    assert len(said.encryption.public_key) == 32 or "WireGuard" in said.encryption.reason
