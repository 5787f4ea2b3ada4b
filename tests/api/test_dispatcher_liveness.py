"""When nodes count as DOWN: on a fake clock, with real sessions."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from api_world import Agent, Manager, cluster, node, task, until

from swarmlite.errors import FailedPrecondition, Unavailable
from swarmlite.manager.dispatcher import hosts, silence
from swarmlite.manager.dispatcher.liveness import Liveness
from swarmlite.model import task_states
from swarmlite.proto.dispatcher_pb2 import AgentMessage, Hello
from swarmlite.proto.types_pb2 import ManagerStatus, NodeStatus
from swarmlite.testing import reserved


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0
        self.wall = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.wall

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)


class World:
    """A dispatcher on a fake clock: checks happen when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.manager = Manager(clock=self.clock, now=self.clock.now)
        self.manager.put(cluster())
        self.dispatcher = self.manager.dispatcher

    async def __aenter__(self) -> World:
        self.running = asyncio.ensure_future(self.dispatcher.run())
        await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def check(self) -> None:
        self.dispatcher.judge.check_nodes(self.clock())
        await asyncio.sleep(0.15)

    async def placed(self, node_id: str, place: str) -> None:
        """Until the store says where the node's session is from."""
        while True:
            stored = self.manager.store.view.nodes.get(node_id)
            if stored is not None and stored.status.place == place:
                return
            await asyncio.sleep(0.01)

    def state(self, node_id: str) -> int:
        stored = self.manager.store.view.nodes.get(node_id)
        assert stored is not None
        return stored.status.state


async def test_a_node_is_down_after_three_missed_heartbeats() -> None:
    async with World() as world:
        world.manager.put(node("n1"))
        session = world.dispatcher.open("n1", "192.0.2.7", Hello())
        world.clock.advance(14)
        await world.check()
        assert world.state("n1") == NodeStatus.READY
        world.dispatcher.received(session, AgentMessage())
        world.clock.advance(14)
        await world.check()
        assert world.state("n1") == NodeStatus.READY
        world.clock.advance(2)
        await world.check()
        assert world.state("n1") == NodeStatus.DOWN
        assert isinstance(session.ended.result(), Unavailable)


async def test_a_node_whose_stream_ends_is_down_soon_unless_its_agent_starts_again() -> None:
    async with World() as world:
        world.manager.put(node("n1"), node("n2"))
        for node_id in ("n1", "n2"):
            session = world.dispatcher.open(node_id, "", Hello())
            await asyncio.sleep(0.1)
            world.dispatcher.close(session)
        world.clock.advance(4)  # an agent that was killed, on a busy host
        await world.check()
        assert (world.state("n1"), world.state("n2")) == (NodeStatus.READY, NodeStatus.READY)
        world.dispatcher.open("n2", "", Hello())
        world.clock.advance(1.5)
        await world.check()
        assert (world.state("n1"), world.state("n2")) == (NodeStatus.DOWN, NodeStatus.READY)


async def test_an_agent_that_starts_slowly_on_a_host_that_lives_is_waited_for() -> None:
    """Nobody listens at the one, whose kernel says so; the other's address is nobody's."""
    async with World() as world:
        world.manager.put(node("n1"), node("n2"))
        for node_id, address in (("n1", "127.0.0.77"), ("n2", "")):
            session = world.dispatcher.open(node_id, address, Hello())
            await asyncio.sleep(0.1)
            world.dispatcher.close(session)
        await world.dispatcher.judge.ask_hosts()  # not yet: a host may be dying with its agent
        world.clock.advance(2)
        await world.dispatcher.judge.ask_hosts()
        world.clock.advance(4)
        await world.check()
        assert (world.state("n1"), world.state("n2")) == (NodeStatus.READY, NodeStatus.DOWN)
        world.clock.advance(8)
        await world.check()
        assert world.state("n1") == NodeStatus.READY
        world.clock.advance(2)
        await world.check()
        assert world.state("n1") == NodeStatus.DOWN


async def test_a_late_node_whose_host_falls_silent_is_down_before_the_third_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not one whose host never answered, nor where nobody else is heard."""
    port = reserved.port()
    monkeypatch.setattr(hosts, "PORT", port)
    monkeypatch.setattr(silence, "LOOK_S", 3600)  # the test says when
    monkeypatch.setattr(silence, "TIMEOUT_S", 3.0)
    try:
        async with World() as world:
            await _one_host_falls_silent(world, port)
    finally:
        reserved.release(port)


async def _one_host_falls_silent(world: World, port: int) -> None:
    names = ("dead", "late", "walled", "heard")
    addresses = {"dead": "127.0.0.78", "late": "127.0.0.79", "walled": "127.0.0.80", "heard": ""}
    world.manager.put(*(node(name) for name in names))
    sessions = {name: world.dispatcher.open(name, addresses[name], Hello()) for name in names}
    await until(lambda: all(world.state(name) == NodeStatus.READY for name in names))
    with silent_listener("127.0.0.80", port):
        await world.dispatcher.judge.look_at_silence()  # learns who answers
        with silent_listener("127.0.0.78", port):
            world.clock.advance(6)
            for _ in range(3):  # nobody is heard: it may be this manager's own network
                await world.dispatcher.judge.look_at_silence()
            await world.check()
            assert world.state("dead") == NodeStatus.READY
            world.dispatcher.received(sessions["heard"], AgentMessage())
            await world.dispatcher.judge.look_at_silence()
            world.dispatcher.judge.check_nodes(world.clock())
            await until(lambda: world.state("dead") == NodeStatus.DOWN)
    assert [world.state(name) for name in names[1:]] == [NodeStatus.READY] * 3
    world.dispatcher.received(sessions["late"], AgentMessage())
    world.clock.advance(10)
    world.dispatcher.judge.check_nodes(world.clock())
    await until(lambda: world.state("walled") == NodeStatus.DOWN)


@contextlib.contextmanager
def silent_listener(address: str, port: int) -> Iterator[None]:
    """Nothing is answered there: its queue is full, so that the kernel drops who knocks."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((address, port), backlog=0))
        assert listener.getsockname()[1] == port
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((address, port))
        yield


async def test_after_a_start_nodes_have_six_periods_to_come_back() -> None:
    world = World()
    world.manager.put(node("n1", ready=True))
    async with world:
        world.clock.advance(29)
        await world.check()
        assert world.state("n1") == NodeStatus.READY
        world.clock.advance(2)
        await world.check()
        assert world.state("n1") == NodeStatus.DOWN


async def test_a_node_that_moved_to_another_manager_is_not_declared_down_by_the_first() -> None:
    async with World() as world:
        world.manager.put(node("n1"), node("other", ready=True, manager=True))
        session = world.dispatcher.open("n1", "", Hello())
        await asyncio.sleep(0.1)
        world.dispatcher.close(session)
        moved = node("n1", ready=True)
        moved.status.manager_id = "other"
        world.manager.put(moved)
        world.dispatcher.judge.adopt(world.clock())
        world.clock.advance(100)
        await world.check()
        assert world.state("n1") == NodeStatus.READY


async def test_a_node_that_talks_is_not_left_down() -> None:
    async with World() as world:
        world.manager.put(node("n1"))
        session = world.dispatcher.open("n1", "", Hello())
        await asyncio.sleep(0.1)
        wrong = node("n1")
        wrong.status.state = NodeStatus.DOWN
        wrong.status.since.FromDatetime(world.clock.now())
        world.manager.put(wrong)
        world.clock.advance(6)
        world.dispatcher.received(session, AgentMessage())
        await world.check()
        assert world.state("n1") == NodeStatus.READY


async def test_tasks_of_a_node_that_is_down_for_a_day_are_orphaned() -> None:
    async with World() as world:
        gone = node("n1")
        gone.status.state = NodeStatus.DOWN
        gone.status.since.FromDatetime(world.clock.now())
        lost, over = task("n1"), task("n1", slot=2)
        lost.status.state = task_states.RUNNING
        over.status.state = task_states.COMPLETE
        world.manager.put(gone, lost, over)
        world.clock.advance(23 * 3600)
        assert not world.dispatcher.orphans()
        world.clock.advance(2 * 3600)
        assert [change.obj.id for change in world.dispatcher.orphans()] == [lost.id]


def test_deadlines_are_answered_once_and_forgotten_nodes_never() -> None:
    liveness = Liveness(5)
    liveness.heard("a", 0)
    liveness.heard("b", 0)
    liveness.forget("b")
    liveness.expect(["a", "c"], 0)
    assert liveness.wake_at() == 15
    assert liveness.expired(16) == ["a"]
    assert liveness.expired(16) == []
    assert liveness.expired(30) == ["c"]
    assert liveness.wake_at() is None


def test_a_manager_that_did_not_listen_blames_nobody() -> None:
    liveness = Liveness(5)
    liveness.heard("a", 0)
    liveness.postpone(60)
    assert liveness.expired(70) == []
    assert liveness.expired(75) == ["a"]


async def test_a_node_that_is_down_from_a_time_to_come_is_ready_again_when_it_talks(
    manager: Manager, agents: Callable[[str], Agent]
) -> None:
    """The clock that its verdict was written by has stepped back since."""
    manager.put(node("n1"))
    agent = await agents("n1").connect()
    await until(lambda: manager.store.view.nodes.get("n1").status.state == NodeStatus.READY)
    down = node("n1")
    down.status.state = NodeStatus.DOWN
    down.status.since.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    manager.put(down)
    await agent.call.write(AgentMessage())
    await until(lambda: manager.store.view.nodes.get("n1").status.state == NodeStatus.READY)


async def test_nodes_of_a_manager_that_fell_silent_are_judged_soon() -> None:
    """They could have come here all the time; the dead manager's own node is one of them."""
    async with World() as world:
        dead, worker = node("dead", ready=True, manager=True), node("n1", ready=True)
        for each in (dead, worker):
            each.status.manager_id = "dead"
        dead.manager_status.reachability = ManagerStatus.REACHABLE
        world.manager.put(dead, worker)
        await world.check()
        dead.manager_status.reachability = ManagerStatus.UNREACHABLE
        world.manager.put(dead)
        await until(lambda: "dead" in world.dispatcher.judge.silent)
        world.dispatcher.judge.adopt(world.clock())
        world.clock.advance(9)
        await world.check()
        assert world.state("dead") == world.state("n1") == NodeStatus.READY
        world.clock.advance(2)
        await world.check()
        assert world.state("dead") == world.state("n1") == NodeStatus.DOWN


async def test_after_a_start_of_the_managers_every_node_has_its_time_to_come_back() -> None:
    async with World() as world:
        dead, worker = node("dead", ready=True, manager=True), node("n1", ready=True)
        worker.status.manager_id = "dead"
        dead.manager_status.reachability = ManagerStatus.UNREACHABLE
        world.manager.put(dead, worker)
        world.dispatcher.judge.adopt(world.clock())
        world.clock.advance(29)
        await world.check()
        assert world.state("n1") == NodeStatus.READY


async def test_a_copy_of_a_state_directory_is_refused_while_the_node_runs() -> None:
    """A restart, and a boot, are the node's own; a copy elsewhere waits for the node to be down."""
    async with World() as world:
        world.manager.put(node("n1"))
        original = world.dispatcher.open("n1", "192.0.2.7", Hello(instance="a", place="here"))
        await world.placed("n1", "here")
        with pytest.raises(FailedPrecondition, match=r"n1 runs at 192\.0\.2\.7 already: .* a copy"):
            world.dispatcher.open("n1", "192.0.2.8", Hello(instance="b", place="there"))
        assert not original.ended.done()
        again = world.dispatcher.open("n1", "192.0.2.7", Hello(instance="c", place="here"))
        booted = world.dispatcher.open("n1", "192.0.2.7", Hello(instance="d", place="booted"))
        assert original.ended.done() and again.ended.done()
        await world.placed("n1", "booted")
        world.clock.advance(16)
        await world.check()
        assert world.state("n1") == NodeStatus.DOWN and booted.ended.done()
        world.dispatcher.open("n1", "192.0.2.8", Hello(instance="e", place="moved"))
        older = Hello(instance="f")  # of a release that does not say
        world.dispatcher.open("n1", "192.0.2.9", older)
