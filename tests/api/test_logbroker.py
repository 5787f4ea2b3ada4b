"""Logs through the broker: from agents that hold the tasks to a client of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc.aio
import pytest
from api_world import Agent, Manager, node, refused, task

from swarmlite import rpc
from swarmlite.errors import InvalidSpec, NotFound, Unavailable
from swarmlite.manager import logorder
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.dispatcher_pb2 import AgentMessage, LogChunk
from swarmlite.proto.objects_pb2 import Service

Agents = Callable[[str], Agent]


def request(service_id: str = "svc", *, follow: bool = False) -> pb.LogsRequest:
    made = pb.LogsRequest()
    made.selector.service_ids.append(service_id)
    made.options.follow = follow
    made.options.tail = -1
    return made


def chunk(subscription_id: str, task_id: str, *lines: bytes, close: bool = False) -> AgentMessage:
    made = LogChunk(subscription_id=subscription_id, close=close)
    for line in lines:
        message = made.messages.add(data=line, stream=pb.LOG_STDOUT)
        message.context.task_id = task_id
    return AgentMessage(logs=[made])


async def lines(call: Any) -> list[bytes]:
    found: list[bytes] = []
    with rpc.translated():
        async for response in call:
            found += [message.data for message in response.messages]
    return found


async def test_lines_of_all_nodes_come_and_the_stream_ends(
    manager: Manager, agents: Agents, control: ControlStub
) -> None:
    one, two = task("n1"), task("n2", slot=2)
    manager.put(Service(id="svc"), node("n1"), node("n2"), one, two)
    here, there = await agents("n1").connect(), await agents("n2").connect()
    reading = asyncio.ensure_future(lines(control.ServiceLogs(request())))
    for agent, mine in ((here, one), (there, two)):
        await agent.until(lambda agent=agent: bool(agent.subscriptions))
        asked = agent.subscriptions[0]
        assert asked.options.tail == -1
        await agent.call.write(chunk(asked.id, mine.id, agent.node_id.encode() + b"\n"))
        # A node is believed about its own tasks only.
        await agent.call.write(chunk(asked.id, "another", b"forged\n"))
        await agent.call.write(chunk(asked.id, mine.id, close=True))
    assert sorted(await reading) == [b"n1\n", b"n2\n"]


async def test_lines_that_are_missing_are_said_to_be(
    manager: Manager, agents: Agents, control: ControlStub
) -> None:
    one, two = task("n1"), task("gone", slot=2)
    manager.put(Service(id="svc"), node("n1"), node("gone"), one, two)
    agent = await agents("n1").connect()
    call = control.ServiceLogs(request())
    await agent.until(lambda: bool(agent.subscriptions))
    asked = agent.subscriptions[0]
    await agent.call.write(chunk(asked.id, one.id, b"here\n", close=True))
    with rpc.translated(), pytest.raises(grpc.aio.AioRpcError, match="node gone is not available"):
        assert (await call.read()).messages[0].data == b"here\n"
        await call.read()


async def test_following_asks_nodes_of_new_tasks_and_stops_with_the_client(
    manager: Manager, agents: Agents, control: ControlStub
) -> None:
    one = task("n1")
    manager.put(Service(id="svc"), node("n1"), node("n2"), one)
    here, there = await agents("n1").connect(), await agents("n2").connect()
    call = control.ServiceLogs(request(follow=True))
    await here.until(lambda: bool(here.subscriptions))
    later = task("n2", slot=2)
    manager.put(later)
    await there.until(lambda: bool(there.subscriptions))
    await there.call.write(chunk(there.subscriptions[0].id, later.id, b"late\n"))
    assert (await call.read()).messages[0].data == b"late\n"
    call.cancel()
    await here.until(lambda: here.subscriptions[-1].close)
    await there.until(lambda: there.subscriptions[-1].close)


async def test_nodes_wait_while_their_client_is_behind_and_nothing_is_lost(
    manager: Manager, agents: Agents, control: ControlStub
) -> None:
    one = task("n1")
    manager.put(Service(id="svc"), node("n1"), one)
    agent = await agents("n1").connect()
    call = control.ServiceLogs(request())
    await agent.until(lambda: bool(agent.subscriptions))
    asked = agent.subscriptions[0]
    for number in range(60):  # less than what would end the call
        text = b"%7d" % number + b"x" * 500_000 + b"\n"
        await agent.call.write(chunk(asked.id, one.id, text))
    await agent.until(lambda: agent.subscriptions[-1].pause)
    assert not agent.subscriptions[0].pause
    reading = asyncio.ensure_future(lines(call))
    await agent.until(lambda: not agent.subscriptions[-1].pause)
    await agent.call.write(chunk(asked.id, one.id, b"the end\n", close=True))
    found = await reading
    assert [int(line[:7]) for line in found[:-1]] == list(range(60))
    assert found[-1] == b"the end\n"


async def test_a_node_that_goes_away_in_the_middle_ends_its_part(
    manager: Manager, agents: Agents, control: ControlStub
) -> None:
    manager.put(Service(id="svc"), node("n1"), task("n1"))
    agent = await agents("n1").connect()
    reading = asyncio.ensure_future(lines(control.ServiceLogs(request())))
    await agent.until(lambda: bool(agent.subscriptions))
    agent.call.cancel()
    with pytest.raises(Unavailable, match="went away"):
        await reading


async def test_logs_of_nothing_are_refused(control: ControlStub) -> None:
    await refused(control.ServiceLogs(pb.LogsRequest()).read(), InvalidSpec, "must be named")
    await refused(control.ServiceLogs(request("no")).read(), NotFound, "service no not found")


async def test_a_service_without_tasks_has_no_lines(manager: Manager, control: ControlStub) -> None:
    manager.put(Service(id="svc"))
    assert await lines(control.ServiceLogs(request())) == []


async def test_followed_lines_of_several_nodes_are_in_the_order_of_their_times(
    manager: Manager, agents: Agents, control: ControlStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever node's come first; who asks for lines without times has them as they come."""
    monkeypatch.setattr(logorder, "WINDOW_S", 2.0)  # so that a busy machine is not too late
    monkeypatch.setattr(logorder, "HISTORY_S", 60.0)
    one, two = task("n1"), task("n2", slot=2)
    manager.put(Service(id="svc"), node("n1"), node("n2"), one, two)
    here, there = await agents("n1").connect(), await agents("n2").connect()
    call = control.ServiceLogs(request(follow=True))
    for agent, mine, moments in ((here, one, (2, 4)), (there, two, (1, 3))):
        await agent.until(lambda agent=agent: bool(agent.subscriptions))
        texts = [b"%d\n" % moment for moment in moments]
        sent = chunk(agent.subscriptions[0].id, mine.id, *texts)
        for message, moment in zip(sent.logs[0].messages, moments, strict=True):
            message.timestamp.seconds = moment
        await agent.call.write(sent)
    found = []
    while len(found) < 4:
        found += [message.data for message in (await call.read()).messages]
    assert found == [b"1\n", b"2\n", b"3\n", b"4\n"]
    call.cancel()
