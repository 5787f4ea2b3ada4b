"""Logs are whole from any manager: it asks those that hold the nodes' sessions."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc.aio
import pytest
from api_world import Agent, Manager, cluster, node, node_of_metadata, task, until
from test_logbroker import chunk, lines, request

from swarmlite import rpc
from swarmlite.errors import Unavailable
from swarmlite.manager.dispatcher import DispatcherService
from swarmlite.manager.store.api import Object, Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.dispatcher_pb2_grpc import add_DispatcherServicer_to_server
from swarmlite.proto.objects_pb2 import Service


class Managers:
    """Managers over one store, each served at a socket of its own, m0 to m2."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.store = MemoryStore()
        self._folder, self._stack = folder, stack

    async def begin(self) -> None:
        for number in range(3):
            made = Manager(self.store, f"m{number}", self._forward)
            made.reach(lambda address: rpc.unix_channel(self._folder / address))
            own = node(made.node_id, manager=True)
            own.manager_status.addr = made.node_id
            made.put(own)
            running = asyncio.ensure_future(made.dispatcher.run())
            self._stack.push_async_callback(_end, running)
            server = grpc.aio.server(
                interceptors=[rpc.TranslateErrors()], options=rpc.SERVER_OPTIONS
            )
            made.register(server)
            add_DispatcherServicer_to_server(
                DispatcherService(made.dispatcher, node_of_metadata), server
            )
            server.add_insecure_port(f"unix:{self._folder}/{made.node_id}")
            await server.start()
            self._stack.push_async_callback(server.stop, 0)
        made.put(cluster(), Service(id="svc"), task("n1"), task("n2", slot=2))
        made.put(node("n1", ready=True), node("n2", ready=True))

    def put(self, *objects: Object) -> None:
        """Into the store."""
        self.store.commit_now([Put(obj) for obj in objects])

    async def _forward(self, address: str, asked: pb.LogsRequest) -> AsyncIterator[pb.LogsResponse]:
        async with rpc.unix_channel(self._folder / address) as channel:
            with rpc.translated(f"manager {address}"):
                async for response in ControlStub(channel).ServiceLogs(asked):
                    yield response

    async def control(self, name: str) -> ControlStub:
        channel = rpc.unix_channel(self._folder / name)
        await self._stack.enter_async_context(channel)
        return ControlStub(channel)

    async def agent(self, node_id: str, at: str) -> Agent:
        """Of a node, with its session at a manager, as the store says."""
        agent = Agent(f"unix:{self._folder}/{at}", node_id)
        self._stack.push_async_callback(agent.close)
        await agent.connect(instance=at)

        def held() -> bool:
            known = self.store.view.nodes.get(node_id)
            return known is not None and known.status.manager_id == at

        await until(held, 60)
        return agent

    def task_of(self, node_id: str) -> str:
        return next(iter(self.store.view.tasks.of_node(node_id)))


async def _end(running: asyncio.Future[None]) -> None:
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def managers() -> AsyncIterator[Managers]:
    with tempfile.TemporaryDirectory(prefix="sl-logs-") as folder:
        async with AsyncExitStack() as stack:
            made = Managers(Path(folder), stack)
            await made.begin()
            yield made


async def said(agent: Agent, task_id: str, *text: bytes, close: bool = False) -> None:
    """The agent answers the last request for logs."""
    await agent.until(lambda: bool(agent.subscriptions), 60)
    await agent.call.write(chunk(agent.subscriptions[-1].id, task_id, *text, close=close))


async def test_lines_come_from_nodes_of_every_manager_whoever_is_asked(
    managers: Managers,
) -> None:
    one, two = await managers.agent("n1", "m0"), await managers.agent("n2", "m1")
    for asked in ("m0", "m2"):
        one.subscriptions.clear()
        two.subscriptions.clear()
        reading = asyncio.ensure_future(
            lines((await managers.control(asked)).ServiceLogs(request()))
        )
        await said(one, managers.task_of("n1"), b"one\n", close=True)
        await said(two, managers.task_of("n2"), b"two\n", close=True)
        assert sorted(await asyncio.wait_for(reading, 60)) == [b"one\n", b"two\n"]


async def test_a_manager_that_does_not_answer_is_said_with_its_nodes(managers: Managers) -> None:
    one, two = await managers.agent("n1", "m0"), await managers.agent("n2", "m1")
    reading = asyncio.ensure_future(lines((await managers.control("m0")).ServiceLogs(request())))
    await two.until(lambda: bool(two.subscriptions), 60)
    two.call.cancel()  # the agent goes away in the middle, and m1 says so
    await said(one, managers.task_of("n1"), b"one\n", close=True)
    with pytest.raises(Unavailable, match="node n2 went away"):
        await asyncio.wait_for(reading, 60)
    gone = managers.store.view.nodes.get("m1")
    assert gone is not None
    moved = type(gone)()
    moved.CopyFrom(gone)
    moved.manager_status.addr = "nobody"
    managers.store.commit_now([Put(moved)])
    one.subscriptions.clear()
    reading = asyncio.ensure_future(lines((await managers.control("m0")).ServiceLogs(request())))
    await said(one, managers.task_of("n1"), b"one\n", close=True)
    with pytest.raises(Unavailable, match=r"node n2 is not available: .*manager nobody"):
        await asyncio.wait_for(reading, 60)


async def test_following_goes_on_where_a_node_moves_to(managers: Managers) -> None:
    """From manager to manager, and to the one that is asked; each line comes once."""
    await managers.agent("n1", "m0")
    await managers.agent("n2", "m1")
    control = await managers.control("m0")
    call = control.ServiceLogs(request(follow=True))
    found: list[bytes] = []

    async def collect() -> None:
        async for response in call:
            found.extend(m.data for m in response.messages if m.stream != pb.LOG_UNKNOWN)

    reading = asyncio.ensure_future(collect())
    for number, at in enumerate(("m1", "m2", "m0", "m1")):
        agent = await managers.agent("n2", at)
        await agent.until(lambda agent=agent: bool(agent.subscriptions), 60)
        await said(agent, managers.task_of("n2"), b"%d\n" % number)
        await until(lambda number=number: found == [b"%d\n" % n for n in range(number + 1)], 60)
    call.cancel()
    await asyncio.gather(reading, return_exceptions=True)
