"""CheckNetwork: every node of a network is asked, by whichever manager has it."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from api_world import Agent, Manager, node, task
from test_logs_of_managers import Managers

from swarmlite import rpc
from swarmlite.errors import FailedPrecondition, NotFound, PermissionDenied
from swarmlite.manager import auth
from swarmlite.manager.controlapi.network_checks import Heard
from swarmlite.manager.dispatcher import items
from swarmlite.proto.control_pb2 import (
    CheckNetworkRequest,
    CheckNetworkResponse,
    NetworkFindings,
    NetworkPeer,
    PeerFinding,
)
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.dispatcher_pb2 import AgentMessage, Endpoint
from swarmlite.proto.objects_pb2 import Network, Task


@pytest.fixture
async def managers() -> AsyncIterator[Managers]:
    """Three managers; n1 to n3 have a task on network front, n4 has none."""
    with tempfile.TemporaryDirectory(prefix="sl-check-") as folder:
        async with AsyncExitStack() as stack:
            made = Managers(Path(folder), stack)
            await made.begin()
            for name, driver in (("front", "overlay"), ("own", "bridge")):
                network = Network(id=f"{name}-id")
                network.spec.annotations.name, network.spec.driver.name = name, driver
                network.ipam.configs.add(subnet="10.1.0.0/24")
                made.put(network)
            made.put(node("n3", ready=True), node("n4", ready=True))
            for number in (1, 2, 3):
                placed = task(f"n{number}", slot=number)
                placed.networks.add(network_id="front-id", addresses=[f"10.1.0.{number}/24"])
                made.put(placed)
            yield made


async def found(agent: Agent, **heard: int) -> None:
    """The agent is asked, and says what it heard."""
    await agent.until(lambda: bool(agent.checks), 60)
    peers = [PeerFinding(node_id=name, heard_bytes=size) for name, size in heard.items()]
    told = NetworkFindings(id=agent.checks[0].id, mtu=1450, peers=peers, repairs=["a\nb"])
    await agent.call.write(AgentMessage(network_findings=told))


async def test_all_nodes_are_asked_and_each_one_s_last_word_is_told(managers: Managers) -> None:
    """One's session is with another manager than the one that is asked, another's with none."""
    one, two = await managers.agent("n1", "m0"), await managers.agent("n2", "m1")
    call = (await managers.control("m0")).CheckNetwork(CheckNetworkRequest(ref="front"))
    await found(one, n2=64)
    await found(two, n1=1450)
    await found(one, n2=1450)
    async with asyncio.timeout(60):
        answers: list[CheckNetworkResponse] = [answer async for answer in call]
    assert [(a.node.node_id, a.hostname) for a in answers] == [
        (name, f"host-{name}") for name in ("n1", "n2", "n3")
    ]
    assert [p.heard_bytes for a in answers for p in a.findings.peers] == [1450, 1450]
    assert list(answers[0].findings.repairs) == ["a b"]
    assert answers[2].findings.error == "it has no session with a manager"
    for agent in (one, two):
        assert [peer.node_id for peer in agent.checks[0].nodes] == ["n1", "n2", "n3"]
        await agent.until(lambda a=agent: a.checks[-1].cancel, 60)  # type: ignore[misc]


async def test_what_has_nothing_between_nodes_is_refused(managers: Managers) -> None:
    control: ControlStub = await managers.control("m0")
    with pytest.raises(FailedPrecondition, match="own is a bridge: each"), rpc.translated():
        async for _ in control.CheckNetwork(CheckNetworkRequest(ref="own")):
            raise AssertionError("it was checked")
    with pytest.raises(NotFound), rpc.translated():
        async for _ in control.CheckNetwork(CheckNetworkRequest(ref="none")):
            raise AssertionError("it was checked")


async def test_a_user_has_no_check_forwarded(managers: Managers) -> None:
    """It would have each node send to addresses of the user's choice."""
    control = Manager(managers.store, "m9").control
    peers = [NetworkPeer(node_id="n1", addr="192.0.2.1")]
    request = CheckNetworkRequest(ref="front", id="mine", nodes=peers, here=["n1"])
    for role in auth.USERS:
        token = auth._caller.set(auth.Caller(role, "u"))
        try:
            with pytest.raises(PermissionDenied, match="only managers"):
                async for _ in control.CheckNetwork(request, None):
                    raise AssertionError("it was checked")
        finally:
            auth._caller.reset(token)


def test_pairs_are_counted_as_findings_come() -> None:
    """As all of them looked at again would say, whatever comes, and comes again."""
    chance, names = random.Random(7), ["n1", "n2", "n3"]
    heard, latest, seen = Heard(), dict[str, NetworkFindings](), set[bool]()
    for _ in range(3000):
        name = chance.choice(names)
        peers = [
            PeerFinding(node_id=other, heard_bytes=chance.choice((0, 1450, 1450, 1450)))
            for other in [*names, "stranger"]
            if chance.random() < 0.9
        ]
        error = chance.choice(("", "", "", "gone"))
        mtu = chance.choice((1400, 1450, 1450))
        latest[name] = NetworkFindings(mtu=mtu, error=error, peers=peers)
        heard.take(name, latest[name])
        able = {each: said for each, said in latest.items() if not said.error}
        wanted = all(
            {peer.node_id: peer.heard_bytes for peer in said.peers}.get(other, 0) >= theirs.mtu
            for one, said in able.items()
            for other, theirs in able.items()
            if one != other
        )
        assert heard.well == wanted
        seen.add(wanted and len(able) == len(names))
    assert seen == {True, False}


def test_nodes_are_found_by_the_first_task_on_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No endpoints are made of the others."""
    manager, made = Manager(), list[str]()
    manager.put(node("n1", ready=True), node("n2", ready=True))
    for number in range(1, 21):
        placed = task(f"n{number % 2 + 1}", slot=number)
        name = "front-id" if placed.node_id == "n1" else "other-id"
        placed.networks.add(network_id=name, addresses=[f"10.1.0.{number}/24"])
        manager.put(placed)
    endpoints = items.task_endpoints

    def counted(of: Task, *others: Any) -> Iterator[Endpoint]:
        made.append(of.id)
        return endpoints(of, *others)

    monkeypatch.setattr(items, "task_endpoints", counted)
    found = manager.control._checks._nodes(Network(id="front-id"))
    assert [peer.node_id for peer in found] == ["n1"]
    assert len(made) == 1
