"""Tunnels to tasks and nodes: any manager joins a client to the right node, and to no other."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from api_world import Agent, failure, task
from test_logs_of_managers import Managers

from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from swarmlite.manager.dispatcher.sessions import Sessions
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.manager.tunnels import Tunnels
from swarmlite.model import task_states
from swarmlite.proto.control_pb2 import TunnelData, TunnelTo
from swarmlite.proto.dispatcher_pb2_grpc import DispatcherStub


@pytest.fixture
async def managers() -> AsyncIterator[Managers]:
    with tempfile.TemporaryDirectory(prefix="swarmlite-api-") as folder:
        async with AsyncExitStack() as stack:
            made = Managers(Path(folder), stack)
            await made.begin()
            yield made


async def opened(managers: Managers, at: str, to: TunnelTo) -> Any:
    """A client's call that has asked."""
    call: Any = (await managers.control(at)).TaskTunnel()
    await call.write(TunnelData(to=to))
    return call


async def answered(agent: Agent, **first: str) -> Any:
    """The agent's call for the tunnel that it was asked for last."""
    await agent.until(lambda: bool(agent.tunnels), 60)
    order = agent.tunnels.pop()
    call: Any = DispatcherStub(agent.channel).Tunnel(metadata=(("node", agent.node_id),))
    await call.write(TunnelData(id=order.id, **first))
    return call


@pytest.mark.parametrize("at", ["m0", "m1"])
async def test_bytes_and_ends_go_both_ways_through_whichever_manager_is_asked(
    managers: Managers, at: str
) -> None:
    agent = await managers.agent("n1", "m0")
    client = await opened(managers, at, TunnelTo(task="web.1", port=80))
    node = await answered(agent)
    assert await client.read() == TunnelData()
    for sender, taker in ((client, node), (node, client)):
        for part in (b"a", b"b" * 100_000):
            await sender.write(TunnelData(data=part))
            assert (await taker.read()).data == part
    await client.write(TunnelData(end=True))
    assert (await node.read()).end
    await node.write(TunnelData(data=b"late"))  # the other way is open still
    assert (await client.read()).data == b"late"
    await node.write(TunnelData(end=True))
    assert (await client.read()).end
    assert await client.read() is grpc.aio.EOF
    assert await node.read() is grpc.aio.EOF


@pytest.mark.parametrize("at", ["m0", "m1"])
async def test_a_node_is_reached_without_a_task(managers: Managers, at: str) -> None:
    agent = await managers.agent("n1", "m0")
    client = await opened(managers, at, TunnelTo(node="n1", task="none", port=80))
    await agent.until(lambda: bool(agent.tunnels), 60)
    asked = agent.tunnels[0].to
    assert (asked.node, asked.task, asked.WhichOneof("place")) == ("n1", "", None)
    node = await answered(agent)
    assert await client.read() == TunnelData()
    await node.write(TunnelData(data=b"held"))
    assert (await client.read()).data == b"held"
    assert isinstance(await failure(await opened(managers, at, TunnelTo(node="x"))), NotFound)
    away = await failure(await opened(managers, at, TunnelTo(node="n2")))
    assert isinstance(away, Unavailable)
    assert str(away) == "node host-n2 is not connected to any manager"


async def test_a_side_that_goes_away_ends_the_other(managers: Managers) -> None:
    agent = await managers.agent("n1", "m0")
    for goes in ("client", "node"):
        client = await opened(managers, "m0", TunnelTo(task="web.1", port=80))
        node = await answered(agent)
        await client.read()
        gone, stays = (client, node) if goes == "client" else (node, client)
        gone.cancel()
        assert await stays.read() is grpc.aio.EOF


async def test_what_hinders_is_said_to_the_client(
    managers: Managers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(to: TunnelTo) -> Exception:
        return await failure(await opened(managers, "m0", to))

    ended = task("n1", slot=3)
    ended.status.state = task_states.FAILED
    waiting = task("", slot=4)
    managers.put(ended, waiting)
    assert isinstance(await refused(TunnelTo(task="none")), NotFound)
    assert "has ended (failed)" in str(await refused(TunnelTo(task=ended.id)))
    error = await refused(TunnelTo(task=waiting.id))
    assert isinstance(error, FailedPrecondition)
    assert "has not been placed" in str(error)
    away = await refused(TunnelTo(task="web.1"))
    assert isinstance(away, Unavailable)
    assert "host-n1" in str(away)

    agent = await managers.agent("n1", "m0")
    client = await opened(managers, "m0", TunnelTo(task="web.1", port=81))
    await answered(agent, error="nothing answers at port 81")
    assert "nothing answers at port 81" in str(await failure(client))
    monkeypatch.setattr("swarmlite.manager.tunnels.ANSWER_S", 0.01)
    silent = await refused(TunnelTo(task="web.1", port=81))
    assert "did not answer within" in str(silent)


async def test_a_tunnel_is_answered_by_the_node_that_was_asked_and_once(
    managers: Managers,
) -> None:
    agent, other = await managers.agent("n1", "m0"), await managers.agent("n2", "m0")
    client = await opened(managers, "m0", TunnelTo(task="web.1", port=80))
    await agent.until(lambda: bool(agent.tunnels), 60)
    [order] = agent.tunnels
    thief: Any = DispatcherStub(other.channel).Tunnel(metadata=(("node", "n2"),))
    await thief.write(TunnelData(id=order.id))
    assert isinstance(await failure(thief), PermissionDenied)
    await answered(agent)
    assert await client.read() == TunnelData()
    again: Any = DispatcherStub(agent.channel).Tunnel(metadata=(("node", "n1"),))
    await again.write(TunnelData(id=order.id))
    assert isinstance(await failure(again), NotFound)


async def test_tunnels_that_another_manager_carries_on_are_counted_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Client:
        async def read(self) -> TunnelData:
            return TunnelData(to=TunnelTo(task="web.1", port=80))

        async def write(self, message: TunnelData) -> None:
            raise AssertionError

    over = asyncio.Event()
    monkeypatch.setattr("swarmlite.manager.tunnels.MAX_TUNNELS", 1)
    monkeypatch.setattr(Tunnels, "_there", lambda *_: over.wait())
    store = MemoryStore()
    store.commit_now([Put(task("n1"))])
    tunnels = Tunnels(store, Sessions(), "m1", None)
    first = asyncio.create_task(tunnels.serve(Client()))
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted):
        await tunnels.serve(Client())
    over.set()
    await first
    await tunnels.serve(Client())


async def test_a_first_message_that_names_nothing_is_refused(managers: Managers) -> None:
    call: Any = (await managers.control("m0")).TaskTunnel()
    await call.write(TunnelData(data=b"x"))
    assert isinstance(await failure(call), InvalidSpec)
