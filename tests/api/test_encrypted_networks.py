"""Encrypted networks, as managers have them: who may make them, and what nodes hear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_world import Agent, Manager, cluster, node, task, until

from swarmlite import rpc
from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.manager import networkkeys
from swarmlite.manager.dispatcher.attachments import check_encryption
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.model import encryption, task_states
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.dispatcher_pb2 import AgentMessage
from swarmlite.proto.objects_pb2 import Network, Node
from swarmlite.proto.types_pb2 import NodeStatus

KEY = bytes(range(32))
WHY = "the kernel has no WireGuard"


def able(name: str) -> Node:
    made = node(name, ready=True)
    made.description.encryption.public_key, made.description.encryption.port = KEY, 2383
    return made


def unable(name: str) -> Node:
    made = node(name, ready=True)
    made.description.encryption.reason = WHY
    return made


def request(name: str = "sealed", value: str = "", **spec: Any) -> pb.CreateNetworkRequest:
    made = pb.CreateNetworkRequest()
    made.spec.annotations.name = name
    made.spec.driver.options["encrypted"] = value
    for key, given in spec.items():
        setattr(made.spec, key, given)
    return made


async def ask(call: Any) -> Any:
    with rpc.translated():
        return await call


async def test_a_node_that_cannot_encrypt_is_named_and_nothing_is_made(
    control: ControlStub, manager: Manager
) -> None:
    """One that is down is not asked; once all can, it is made; a plain one always."""
    manager.put(able("n1"), unable("n2"))
    with pytest.raises(FailedPrecondition, match=f"node host-n2 cannot take part .*: {WHY}"):
        await ask(control.CreateNetwork(request()))
    assert not len(manager.store.view.networks)
    await ask(control.CreateNetwork(request("plain", "false")))
    manager.put(node("n2"))  # down
    made = await ask(control.CreateNetwork(request()))
    assert dict(made.spec.driver.options) == {"encrypted": ""}
    for broken, words in (
        (request("other", "perhaps"), "'perhaps' is not true or false"),
        (request("other", "true", ingress=True), "the ingress network cannot be encrypted"),
    ):
        with pytest.raises(InvalidSpec, match=words):
            await ask(control.CreateNetwork(broken))
    # A plain container's node is judged by itself.
    for node_id, others in (("n3", ()), ("n1", (able("n0"), able("n1")))):
        refused = unable(node_id) if not others else others[1]
        with pytest.raises(FailedPrecondition, match="encrypted, and this node cannot take part"):
            check_encryption(made, refused, others)
    check_encryption(made, able("n1"))


async def test_nodes_keys_go_with_the_endpoints_of_encrypted_networks_only(
    manager: Manager, agents: Callable[[str], Agent]
) -> None:
    sealed, plain = Network(id="sealed-id"), Network(id="plain-id")
    sealed.spec.driver.options["encrypted"] = "true"
    for network in (sealed, plain):
        network.ipam.configs.add(subnet="10.1.0.0/24")
    one, two = able("n1"), able("n2")
    two.description.encryption.public_key = KEY[::-1]
    two.description.data_path_addr = "192.0.2.2"
    placed = [task("n1"), task("n2", slot=2)]
    for number, each in enumerate(placed, 1):
        for network in (sealed, plain):
            each.networks.add(network_id=network.id, addresses=[f"10.1.0.{number}/24"])
        each.status.state = task_states.RUNNING
    manager.put(sealed, plain, one, two, *placed)
    agent = agents("n1")
    await agent.connect()
    await agent.until(lambda: len(agent.of("endpoint")) == 4, 60)
    there = {e.network_id: e for e in agent.of("endpoint").values() if e.node_id == "n2"}
    assert (there["sealed-id"].node_key, there["sealed-id"].node_key_port) == (KEY[::-1], 2383)
    assert not there["plain-id"].node_key
    # Another key, as after the node's disk was lost, is heard of.
    two.description.encryption.public_key = b"\7" * 32
    manager.put(two)
    endpoint = there["sealed-id"].id
    await agent.until(lambda: agent.of("endpoint")[endpoint].node_key == b"\7" * 32, 60)


@pytest.mark.parametrize("stolen", ["address", "key"])
async def test_the_first_that_says_an_address_or_a_key_keeps_it(
    manager: Manager, agents: Callable[[str], Agent], stolen: str
) -> None:
    """A worker that says another's gets no key told, however old it is, until that one is down."""
    sealed = Network(id="sealed-id")
    sealed.spec.driver.options["encrypted"] = ""
    sealed.ipam.configs.add(subnet="10.1.0.0/24")
    thief, follower, victim = node("n0", ready=True), able("n1"), able("n2")
    victim.description.data_path_addr = "192.0.2.2"
    victim.description.encryption.public_key = KEY[::-1]
    victim.place_since.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    placed = [task(name, slot=slot) for slot, name in enumerate(("n0", "n1", "n2"), 1)]
    for number, each in enumerate(placed, 1):
        each.networks.add(network_id=sealed.id, addresses=[f"10.1.0.{number}/24"])
        each.status.state = task_states.RUNNING
    manager.put(sealed, thief, follower, victim, *placed)
    said = able("n0").description
    said.data_path_addr = "192.0.2.2" if stolen == "address" else "192.0.2.3"
    said.encryption.public_key = KEY[::-1] if stolen == "key" else b"\5" * 32
    bad = await agents("n0").connect()
    await bad.call.write(AgentMessage(description=said))
    nodes = manager.store.view.nodes
    await until(lambda: nodes.get("n0").description.encryption.port == 2383, 60)
    agent = await agents("n1").connect()

    def told() -> dict[str, bytes]:
        found = {e.node_id: e for e in agent.of("endpoint").values()}
        at_last = "n0" in found and found["n0"].node_addr == said.data_path_addr
        return {n: found[n].node_key for n in ("n0", "n2") if n in found} if at_last else {}

    await agent.until(lambda: len(told()) == 2, 60)
    assert told() == {"n0": b"", "n2": KEY[::-1]}
    assert encryption.displaced(nodes) == {
        "n0": "its data path address or its key is node host-n2's"
    }
    victim.status.state = NodeStatus.DOWN
    manager.put(victim)
    await agent.until(lambda: told() == {"n0": said.encryption.public_key, "n2": b""}, 60)
    victim.status.state = NodeStatus.READY
    manager.put(victim)
    await agent.until(lambda: told() == {"n0": b"", "n2": KEY[::-1]}, 60)


async def test_the_managers_key_is_for_nodes_and_for_nobody_else(
    control: ControlStub, manager: Manager, agents: Callable[[str], Agent]
) -> None:
    manager.put(able("n1"))
    agent = await agents("n1").connect()
    assert not agent.info.network_key
    changed = cluster()
    changed.network_key = KEY
    manager.put(changed)
    await agent.until(lambda: agent.info.network_key == KEY, 60)
    shown = await ask(control.GetCluster(pb.GetRequest(ref="default")))
    assert not shown.network_key


async def test_a_key_is_made_with_the_first_encrypted_network_and_replaced_in_time() -> None:
    store, now = MemoryStore(), datetime(2026, 11, 29, tzinfo=UTC)
    await store.commit([Put(cluster())])
    sealed = Network(id="n")
    sealed.spec.driver.options["encrypted"] = ""
    assert not networkkeys.is_due(store.view, now)

    def key() -> bytes:
        assert store.view.cluster is not None
        return store.view.cluster.network_key

    keeping = asyncio.create_task(networkkeys.keep(store, None, lambda: now))  # type: ignore[arg-type]
    try:
        await store.commit([Put(sealed)])
        await until(lambda: len(key()) == 32, 60)
    finally:
        keeping.cancel()
    first = key()
    assert not networkkeys.is_due(store.view, now + timedelta(hours=11))
    later = now + timedelta(hours=12)
    assert networkkeys.is_due(store.view, later)
    keeping = asyncio.create_task(networkkeys.keep(store, None, lambda: later))  # type: ignore[arg-type]
    try:
        await until(lambda: key() != first, 60)
    finally:
        keeping.cancel()
    assert not networkkeys.is_due(store.view, later)
