"""A manager that lost the store lets its nodes go to one that has it, and judges none meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from api_world import Agent, Manager, node

from swarmlite import rpc
from swarmlite.errors import Unavailable
from swarmlite.manager.controlapi import ControlService
from swarmlite.manager.dispatcher.handover import GRACE_S
from swarmlite.manager.server import serving
from swarmlite.proto.control_pb2 import StoreHealth, StoreHealthRequest, StoreMember
from swarmlite.proto.types_pb2 import NodeStatus


class Health:
    """Of another manager: what it says of its own place in the store."""

    def __init__(self) -> None:
        self.seen = False
        self.warnings: list[str] = []

    async def whole(self, request: StoreHealthRequest) -> StoreHealth:
        return StoreHealth(members=[StoreMember(seen=self.seen)])


async def test_sessions_end_for_good_only_where_another_manager_has_the_store(
    manager: Manager, agents: Callable[[str], Agent], socket_path: Path
) -> None:
    other, health, has_store = Manager(manager.store), Health(), [True]
    other.control = ControlService(other.store, other.node_id, other.broker, health=health)
    manager.put(node("n1"), *(node(m.node_id, manager=True, ready=True) for m in (manager, other)))
    place = socket_path.with_name("other.sock")
    dispatcher = manager.dispatcher
    dispatcher.hand_over(lambda: has_store[0], lambda address: rpc.unix_channel(place))
    handover = dispatcher.handover
    assert handover is not None
    agent = await agents("n1").connect()
    seconds, has_store[0] = [1000.0], False
    handover._clock = lambda: seconds[0]
    async with serving(
        [other.register],
        lambda: other.store.view,
        socket_path=place,
        listen_addr=None,
        certificates_dir=place.parent,
    ):
        await handover.look()  # it says that it has lost it as well: nodes may look, once
        assert handover.away and "has lost the store" in str(await agent.ended())
        seconds[0] += GRACE_S
        await handover.look()
        assert not handover.away
        agent = await agents("n1").connect()
        await handover.look()
        assert not handover.away and dispatcher.sessions.get("n1") is not None
        health.seen = True
        await handover.look()
    assert handover.away
    assert "has lost the store" in str(await agent.ended())
    with pytest.raises(Unavailable, match="another one has it"):
        await agents("n1").connect()
    # What it decided of its nodes before is no more its to write, nor is it to judge them.
    dispatcher._reports.node_status("n1", NodeStatus(state=NodeStatus.DOWN))
    dispatcher._reports.forget_statuses()
    assert not dispatcher._reports.take(manager.store.view, dispatcher._now())
    await handover.look()  # who had it answers no more: there is nowhere to go again
    assert handover.away
    seconds[0] += GRACE_S
    await handover.look()
    assert not handover.away
    await agents("n1").connect()
    has_store[0] = True
    await handover.look()
    assert not handover.away
    await agents("n1").connect()
