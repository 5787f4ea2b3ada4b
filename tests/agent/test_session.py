"""The session with a manager, over real gRPC with mutual TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from scripted_manager import ScriptedManager, certify

from swarmlite import rpc
from swarmlite.agent.managers import ManagerList
from swarmlite.agent.reporter import Reporter
from swarmlite.agent.session import Session
from swarmlite.errors import PermissionDenied
from swarmlite.ids import new_id
from swarmlite.manager.ca.root import WORKER, RootCA
from swarmlite.model import task_states
from swarmlite.proto.dispatcher_pb2 import LogChunk
from swarmlite.proto.types_pb2 import NodeDescription, TaskStatus


class Recorder:
    """session.Handler that writes down what it is told."""

    def __init__(self) -> None:
        self.assignments: list[Any] = []
        self.lost = 0
        self.chunks: asyncio.Queue[list[LogChunk]] = asyncio.Queue()

    def session_started(self, info: Any) -> None:
        pass

    def session_lost(self) -> None:
        self.lost += 1

    def assigned(self, message: Any) -> None:
        self.assignments.append(message)

    def log_subscription(self, subscription: Any) -> None:
        pass

    async def log_chunks(self) -> list[LogChunk]:
        return await self.chunks.get()


class Fixture:
    def __init__(self, tmp_path: Path) -> None:
        self.root = RootCA.create()
        self.node_id = new_id()
        self.certificates = certify(self.root, tmp_path / "certificates", self.node_id, WORKER)
        self.manager = ScriptedManager(self.root, self.node_id, tmp_path / "manager")
        self.handler = Recorder()
        self.reporter = Reporter(lambda *_: None)
        self.list_path = tmp_path / "managers.json"
        self.session: Session | None = None
        self.running: asyncio.Task[None] | None = None

    async def begin(self, *addresses: str) -> Session:
        managers = ManagerList(self.list_path, addresses)
        self.session = Session(
            managers=managers,
            channel=lambda address: rpc.secure_channel([address], self.certificates),
            description=lambda: NodeDescription(hostname="n"),
            reporter=self.reporter,
            handler=self.handler,
        )
        self.running = asyncio.create_task(self.session.run())
        return self.session

    async def close(self) -> None:
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
        await self.manager.stop()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Fixture]:
    fixture = Fixture(tmp_path)
    yield fixture
    await fixture.close()


async def test_hello_then_complete_then_statuses_in_batches(node: Fixture) -> None:
    await node.begin(await node.manager.start())
    await node.manager.session()
    assert node.manager.hellos[0].description.hostname == "n"
    for number in range(50):
        node.reporter.report(f"t{number}", TaskStatus(state=task_states.RUNNING))
    await node.manager.until(lambda: len(node.manager.history) == 50, "50 statuses")
    assert len([m for m in node.manager.messages if m.statuses]) <= 3
    assert node.handler.assignments


async def test_heartbeats_come_more_often_than_the_period(node: Fixture) -> None:
    node.manager.period_s = 0.4
    await node.begin(await node.manager.start())
    await node.manager.session()
    await asyncio.sleep(1.5)
    assert 3 <= len(node.manager.messages) <= 8


async def test_a_manager_that_goes_is_left_for_another(node: Fixture, tmp_path: Path) -> None:
    other = ScriptedManager(node.root, node.node_id, tmp_path / "other")
    try:
        node.manager.managers = [await other.start()]
        await node.begin(await node.manager.start())
        await node.manager.session()
        node.reporter.report("t", TaskStatus(state=task_states.RUNNING))
        await node.manager.status("t", task_states.RUNNING)
        await node.manager.stop()
        await other.session()
        assert node.handler.lost == 1
        # Learnt from the first session, and remembered for the next start of the agent.
        assert other.address in ManagerList(node.list_path, []).addresses()
    finally:
        await other.stop()
        await node.close()


async def test_statuses_of_a_time_without_managers_are_sent_when_they_return(
    node: Fixture,
) -> None:
    address = await node.manager.start()
    await node.begin(address)
    await node.manager.session()
    await node.manager.stop()
    node.reporter.report("t", TaskStatus(state=task_states.RUNNING))
    node.reporter.report("t", TaskStatus(state=task_states.FAILED, err="x"))
    await node.manager.start(address)
    await node.manager.session(2)
    status = await node.manager.status("t", task_states.RUNNING)
    assert status.state == task_states.FAILED


async def test_a_removed_node_is_told_so_and_does_not_come_back(node: Fixture) -> None:
    node.manager.refusal = (grpc.StatusCode.PERMISSION_DENIED, "node was removed")
    await node.begin(await node.manager.start())
    assert node.running is not None
    with pytest.raises(PermissionDenied, match="node was removed"):
        await asyncio.wait_for(node.running, 10)


async def test_a_status_never_falls(node: Fixture) -> None:
    await node.begin(await node.manager.start())
    await node.manager.session()
    node.reporter.report("t", TaskStatus(state=task_states.FAILED))
    node.reporter.report("t", TaskStatus(state=task_states.RUNNING))
    await asyncio.sleep(0.2)
    assert [s.state for s in node.manager.history["t"]] == [task_states.FAILED]


async def test_a_session_begins_again_when_it_is_asked_to(node: Fixture) -> None:
    session = await node.begin(await node.manager.start())
    await node.manager.session()
    session.reconnect()
    await node.manager.session(2)


async def test_reconnecting_is_quick_at_first_and_does_not_spin(node: Fixture) -> None:
    address = await node.manager.start()
    await node.begin(address)
    await node.manager.session()
    node.manager.end_session()
    await node.manager.session(2)
