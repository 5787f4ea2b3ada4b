"""The leader's loops, the API and the dispatcher together, with scripted agents on real streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from api_world import Agent, Manager, ask, ingress, node, service_spec, until

from swarmlite.manager import loop
from swarmlite.manager.loops import leader_loops
from swarmlite.manager.store.api import Fence
from swarmlite.model import task_states
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.types_pb2 import NodeStatus

Agents = Callable[[str], Agent]


@pytest.fixture
async def leader(manager: Manager) -> AsyncIterator[Manager]:
    """The manager, with every loop of a leader."""
    cluster = type(manager.store.view.cluster)()
    cluster.CopyFrom(manager.store.view.cluster)
    cluster.default_address_pool.append("10.0.0.0/8")
    cluster.subnet_size = 24
    manager.put(cluster)
    manager.put(ingress())
    running = [
        asyncio.ensure_future(loop.run(each, manager.store, Fence(0), time.time))
        for each in leader_loops()
    ]
    yield manager
    for each in running:
        each.cancel()
    results = await asyncio.gather(*running, return_exceptions=True)
    assert not [r for r in results if not isinstance(r, asyncio.CancelledError)]


async def obey(agent: Agent) -> None:
    """What an agent does, without containers: reports what was desired."""
    reported: dict[str, int] = {}
    while True:
        for task_id, task in agent.of("task").items():
            over = task.desired_state > task_states.RUNNING
            state = task_states.SHUTDOWN if over else task.desired_state
            if reported.get(task_id) != state:
                reported[task_id] = state
                await agent.report(task_id, state)
        agent.changed.clear()
        await agent.changed.wait()


def running(leader: Manager) -> list[str]:
    """The nodes of tasks that run."""
    return [
        t.node_id
        for t in leader.store.view.tasks
        if t.status.state == task_states.RUNNING and t.desired_state == task_states.RUNNING
    ]


async def test_a_service_comes_up_scales_moves_off_a_dead_node_and_goes(
    leader: Manager, agents: Agents, control: ControlStub
) -> None:
    names = ["n1", "n2", "n3"]
    for name in names:
        made = node(name)
        made.description.platform.os = "linux"
        leader.put(made)
    sessions = [await agents(name).connect() for name in names]
    view = leader.store.view
    await until(lambda: all(view.nodes.get(n).status.state == NodeStatus.READY for n in names))
    obeying = {s.node_id: asyncio.ensure_future(obey(s)) for s in sessions}
    try:
        spec = service_spec()
        spec.replicated.replicas = 6
        spec.endpoint.ports.add(target_port=80, published_port=8080)
        spec.task.restart.delay.FromSeconds(0)
        made = await ask(control.CreateService(pb.CreateServiceRequest(spec=spec)))
        await until(lambda: len(running(leader)) == 6, 10)
        assert sorted(running(leader)) == ["n1"] * 2 + ["n2"] * 2 + ["n3"] * 2
        first = sessions[0]
        await first.until(lambda: sum(e.in_rotation for e in first.of("endpoint").values()) == 6)
        seen = next(iter(first.of("virtual_service").values()))
        assert [p.published_port for p in seen.ingress_ports] == [8080] and seen.vips
        status = await ask(control.ListServices(pb.ListRequest()))
        assert status.status[made.id].running_tasks == 6

        obeying["n3"].cancel()
        sessions[2].call.cancel()
        await until(lambda: leader.store.view.nodes.get("n3").status.state == NodeStatus.DOWN, 10)
        await until(lambda: sorted(running(leader)) == ["n1"] * 3 + ["n2"] * 3, 10)
        await first.until(
            lambda: sum(e.in_rotation for e in first.of("endpoint").values()) == 6, 10
        )

        await ask(control.RemoveService(pb.RemoveRequest(ref="web")))
        await until(lambda: not running(leader), 10)
        await first.until(lambda: not first.of("virtual_service"), 10)
    finally:
        for each in obeying.values():
            each.cancel()
        await asyncio.gather(*obeying.values(), return_exceptions=True)
