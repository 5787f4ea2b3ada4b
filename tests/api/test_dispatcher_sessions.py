"""The dispatcher over real streams: sessions, assignments, reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc.aio
import pytest
from api_world import Agent, Manager, failure, node, task, until

import swarmlite.manager.dispatcher.loop as dispatcher_loop
from swarmlite.errors import InvalidSpec, PermissionDenied, SwarmliteError, Unavailable
from swarmlite.manager.store.api import Delete
from swarmlite.model import task_states
from swarmlite.model.timestamps import set_now
from swarmlite.proto.dispatcher_pb2 import AgentMessage, TaskStatusUpdate
from swarmlite.proto.dispatcher_pb2_grpc import DispatcherStub
from swarmlite.proto.objects_pb2 import Config, Network, Secret, Service
from swarmlite.proto.types_pb2 import NodeStatus

Agents = Callable[[str], Agent]


def network(network_id: str, *, ingress: bool = False) -> Network:
    made = Network(id=network_id)
    made.spec.annotations.name = network_id
    made.spec.ingress = ingress
    made.ipam.configs.add(subnet="10.0.1.0/24", gateway="10.0.1.1")
    return made


async def test_a_session_makes_the_node_ready_and_keeps_what_it_says_of_itself(
    manager: Manager, agents: Agents
) -> None:
    manager.put(node("n1"), node(manager.node_id, manager=True))
    agent = await agents("n1").connect()
    await until(lambda: manager.store.view.nodes.get("n1").status.state == NodeStatus.READY)
    stored = manager.store.view.nodes.get("n1")
    assert stored.status.addr == "192.0.2.7"
    assert stored.status.manager_id == manager.node_id
    assert stored.description.data_path_addr == "192.0.2.9"
    assert agent.info.heartbeat_period.seconds == 5
    assert [peer.node_id for peer in agent.info.managers] == [manager.node_id]
    assert agent.info.ca_cert == b"root"


async def test_a_node_learns_of_a_change_of_its_own_labels(
    manager: Manager, agents: Agents
) -> None:
    manager.put(node("n1"))
    agent = await agents("n1").connect()
    await until(lambda: manager.store.view.nodes.get("n1").status.state == NodeStatus.READY)
    changed = type(node("n1"))()
    changed.CopyFrom(manager.store.view.nodes.get("n1"))
    changed.spec.annotations.labels["zone"] = "a"
    manager.put(changed)
    await agent.until(lambda: agent.info.node.spec.annotations.labels.get("zone") == "a")


async def test_tasks_arrive_complete_then_as_they_come_and_go(
    manager: Manager, agents: Agents
) -> None:
    first, other = task("n1"), task("n2")
    manager.put(node("n1"), node("n2"), first, other)
    agent = await agents("n1").connect()
    await agent.until(lambda: set(agent.of("task")) == {first.id})
    second = task("n1", slot=2)
    manager.put(second)
    await agent.until(lambda: second.id in agent.of("task"))
    second.desired_state = task_states.SHUTDOWN
    manager.put(second)
    await agent.until(lambda: agent.of("task")[second.id].desired_state == task_states.SHUTDOWN)
    manager.store.commit_now([Delete(manager.store.view.tasks.get(second.id))])
    await agent.until(lambda: set(agent.of("task")) == {first.id})


async def test_a_session_that_begins_while_a_batch_is_handed_out_keeps_the_order(
    manager: Manager, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is handed out a few nodes at a time; agents check the sequence of what they get."""
    monkeypatch.setattr(dispatcher_loop, "MESSAGES", 1)
    names = [f"n{k}" for k in range(12)]
    manager.put(*(node(name) for name in names))
    early = [await agents(name).connect() for name in names[:8]]
    tasks = [task(name, slot=slot) for slot in range(1, 6) for name in names]
    joining = asyncio.gather(*(agents(name).connect() for name in names[8:]))
    for start in range(0, len(tasks), 12):
        manager.put(*tasks[start : start + 12])
        await asyncio.sleep(0.013)
    for one in tasks:
        one.desired_state = task_states.SHUTDOWN
    manager.put(*tasks)
    for agent in [*early, *await joining]:
        await agent.until(
            lambda agent=agent: (
                [t.desired_state for t in agent.of("task").values()] == 5 * [task_states.SHUTDOWN]
            )
        )


async def test_a_task_that_is_not_assigned_yet_is_not_sent(
    manager: Manager, agents: Agents
) -> None:
    waiting, ready = task("n1"), task("n1", slot=2)
    waiting.status.state = task_states.PENDING
    manager.put(node("n1"), waiting, ready)
    agent = await agents("n1").connect()
    await agent.until(lambda: set(agent.of("task")) == {ready.id})
    waiting.status.state = task_states.ASSIGNED
    manager.put(waiting)
    await agent.until(lambda: len(agent.of("task")) == 2)


async def test_a_node_gets_only_the_secrets_and_configs_of_its_own_live_tasks(
    manager: Manager, agents: Agents
) -> None:
    for name in ("s1", "s2"):
        manager.put(Secret(id=name, spec={"data": name.encode()}))
        manager.put(Config(id=f"c-{name}", spec={"data": b"x"}))
    mine, others = task("n1"), task("n2")
    mine.spec.container.secrets.add(secret_id="s1")
    mine.spec.container.configs.add(config_id="c-s1")
    others.spec.container.secrets.add(secret_id="s2")
    manager.put(node("n1"), node("n2"), mine, others)
    agent = await agents("n1").connect()
    await agent.until(lambda: bool(agent.of("task")))
    assert set(agent.of("secret")) == {"s1"}
    assert agent.of("secret")["s1"].spec.data == b"s1"
    assert set(agent.of("config")) == {"c-s1"}
    mine.status.state = task_states.FAILED
    manager.put(mine)
    await agent.until(lambda: not agent.of("secret") and not agent.of("config"))
    assert set(agent.of("task")) == {mine.id}


async def test_what_agents_report_is_stored_and_states_only_rise(
    manager: Manager, agents: Agents
) -> None:
    mine = task("n1")
    manager.put(node("n1"), mine)
    agent = await agents("n1").connect()
    await agent.report(mine.id, task_states.RUNNING, message="started", err="two\nlines\0")
    await until(lambda: manager.store.view.tasks.get(mine.id).status.state == task_states.RUNNING)
    status = manager.store.view.tasks.get(mine.id).status
    assert (status.message, status.err, status.applied_by) == ("started", "two lines", "n1")
    await agent.report(mine.id, task_states.STARTING)
    await agent.report(mine.id, task_states.RUNNING, message="still")
    await until(lambda: manager.store.view.tasks.get(mine.id).status.message == "still")
    await agent.report(mine.id, task_states.COMPLETE)
    await until(lambda: manager.store.view.tasks.get(mine.id).status.state == task_states.COMPLETE)
    await agent.report(mine.id, task_states.FAILED)
    await asyncio.sleep(0.2)
    assert manager.store.view.tasks.get(mine.id).status.state == task_states.COMPLETE


async def test_a_worker_cannot_report_anothers_task_nor_a_managers_state(
    manager: Manager, agents: Agents
) -> None:
    mine, others = task("n1"), task("n2")
    manager.put(node("n1"), node("n2"), mine, others)
    agent = await agents("n1").connect()
    await agent.report(others.id, task_states.FAILED)
    await agent.report(mine.id, task_states.ORPHANED)
    await agent.report("no such task", task_states.RUNNING)
    await agent.report(mine.id, task_states.RUNNING)
    await until(lambda: manager.store.view.tasks.get(mine.id).status.state == task_states.RUNNING)
    assert manager.store.view.tasks.get(others.id).status.state == task_states.ASSIGNED


async def test_a_second_session_ends_the_first(manager: Manager, agents: Agents) -> None:
    manager.put(node("n1"))
    first = await agents("n1").connect("one")
    second = await agents("n1").connect("two")
    error = await first.ended()
    assert "another session" in str(error)
    mine = task("n1")
    manager.put(mine)
    await second.until(lambda: set(second.of("task")) == {mine.id})
    assert len(manager.dispatcher.sessions) == 1


async def test_a_removed_node_is_told_so(manager: Manager, agents: Agents) -> None:
    manager.put(node("n1"))
    agent = await agents("n1").connect()
    await until(lambda: manager.store.view.nodes.get("n1").status.state == NodeStatus.READY)
    cluster = type(manager.store.view.cluster)()
    cluster.CopyFrom(manager.store.view.cluster)
    set_now(cluster.blacklisted_certificates["n1"].expiry)
    manager.put(cluster)
    manager.store.commit_now([Delete(manager.store.view.nodes.get("n1"))])
    assert isinstance(await agent.ended(), PermissionDenied)
    with pytest.raises(PermissionDenied, match="removed from the swarm"):
        await agents("n1").connect()


async def test_a_node_that_nobody_knows_is_asked_to_try_again(
    manager: Manager, agents: Agents
) -> None:
    with pytest.raises(Unavailable, match="not known"):
        await agents("stranger").connect()


async def test_a_session_begins_with_hello(manager: Manager, agents: Agents) -> None:
    manager.put(node("n1"))
    agent = agents("n1")
    agent.call = DispatcherStub(agent.channel).Session(metadata=(("node", "n1"),))
    await agent.call.write(AgentMessage())
    with pytest.raises(grpc.aio.AioRpcError):
        await agent.call.read()
    assert isinstance(await failure(agent.call), InvalidSpec)


async def test_endpoints_follow_the_network_to_the_nodes_that_take_part(
    manager: Manager, agents: Agents
) -> None:
    manager.put(network("net"), node("n1"), node("n2"), node("n3"))
    one, two = task("n1"), task("n2", slot=2)
    for number, made in enumerate((one, two), 2):
        made.networks.add(network_id="net", addresses=[f"10.0.1.{number}/24"], aliases=["db"])
    manager.put(one, two)
    here, away = await agents("n1").connect(), await agents("n3").connect()
    await here.until(lambda: len(here.of("endpoint")) == 2)
    assert set(here.of("network")) == {"net"}
    endpoint = here.of("endpoint")[f"net/{two.id}"]
    assert (endpoint.addr, endpoint.node_id, endpoint.in_rotation) == ("10.0.1.3/24", "n2", False)
    assert list(endpoint.aliases) == ["db"]
    two.status.state = task_states.RUNNING
    two.status.healthy = True
    manager.put(two)
    await here.until(lambda: here.of("endpoint")[f"net/{two.id}"].in_rotation)
    two.desired_state = task_states.SHUTDOWN
    manager.put(two)
    await here.until(lambda: not here.of("endpoint")[f"net/{two.id}"].in_rotation)
    two.status.state = task_states.SHUTDOWN
    manager.put(two)
    await here.until(lambda: len(here.of("endpoint")) == 1)
    one.status.state = task_states.SHUTDOWN
    manager.put(one)
    await here.until(lambda: not here.of("endpoint") and not here.of("network"))
    assert not away.items


async def test_a_published_service_is_known_on_every_node_a_private_one_where_it_is_used(
    manager: Manager, agents: Agents
) -> None:
    ingress, own = network("ing", ingress=True), network("net")
    published, private = Service(id="pub"), Service(id="priv")
    published.spec.annotations.name = "pub"
    published.endpoint.ports.add(target_port=80, published_port=8080)
    published.endpoint.virtual_ips.add(network_id="ing", addr="10.0.0.5/24")
    private.spec.annotations.name = "priv"
    private.spec.task.networks.add(target="net", aliases=["cache"])
    private.endpoint.virtual_ips.add(network_id="net", addr="10.0.1.9/24")
    published.endpoint.virtual_ips.add(network_id="net", addr="10.0.1.8/24")
    published.spec.task.networks.add(target="net")
    manager.put(ingress, own, published, private, node("n1"), node("n2"))
    made = task("n1")
    made.networks.add(network_id="net", addresses=["10.0.1.2/24"])
    manager.put(made)
    one, two = await agents("n1").connect(), await agents("n2").connect()
    await one.until(lambda: len(one.of("virtual_service")) == 2)
    assert [list(a.names) for a in one.of("virtual_service")["priv"].aliases] == [["cache"]]
    assert len(one.of("virtual_service")["pub"].vips) == 2
    await two.until(lambda: set(two.of("virtual_service")) == {"pub"})
    seen = two.of("virtual_service")["pub"]
    assert [vip.network_id for vip in seen.vips] == ["ing"]
    assert [port.published_port for port in seen.ingress_ports] == [8080]
    made.status.state = task_states.SHUTDOWN
    manager.put(made)
    await one.until(lambda: set(one.of("virtual_service")) == {"pub"})
    assert [v.network_id for v in one.of("virtual_service")["pub"].vips] == ["ing"]
    manager.store.commit_now([Delete(manager.store.view.services.get("pub"))])
    await two.until(lambda: not two.of("virtual_service"))


async def test_lost_events_are_made_up_for(manager: Manager, agents: Agents) -> None:
    manager.put(node("n1"))
    agent = await agents("n1").connect()
    mine = task("n1")
    manager.store._feed.resync()
    manager.store._view.tasks.put(mine)
    manager.store.resync()
    await agent.until(lambda: set(agent.of("task")) == {mine.id})


async def test_two_hundred_agents_report_two_thousand_tasks(
    manager: Manager, agents: Agents
) -> None:
    """Everything arrives, and nothing is sent twice: one message or a few an agent."""
    names = [f"n{number}" for number in range(200)]
    manager.put(*(node(name) for name in names))
    sessions = await asyncio.gather(*(agents(name).connect() for name in names))
    before = sum(agent.messages for agent in sessions)
    tasks = [task(names[number % 200], slot=number + 1) for number in range(2000)]
    manager.put(*tasks)

    async def run(agent: Agent) -> None:
        await agent.until(lambda: len(agent.of("task")) == 10, 30)
        for task_id in agent.of("task"):
            await agent.report(task_id, task_states.RUNNING)

    await asyncio.gather(*(run(agent) for agent in sessions))
    view = manager.store.view
    await until(
        lambda: all(view.tasks.get(t.id).status.state == task_states.RUNNING for t in tasks), 30
    )
    assert sum(agent.messages for agent in sessions) - before <= 200 * 12


async def test_errors_are_of_this_project(manager: Manager, agents: Agents) -> None:
    with pytest.raises(SwarmliteError):
        await agents("").connect()


async def test_reports_count_in_the_order_they_come_though_the_agents_clock_steps_back(
    manager: Manager, agents: Agents
) -> None:
    mine = task("n1")
    manager.put(node("n1"), mine)
    agent = await agents("n1").connect()
    for second, healthy in ((10_000, True), (6_400, False), (6_500, True), (6_450, False)):
        update = TaskStatusUpdate(task_id=mine.id)
        update.status.state = task_states.RUNNING
        update.status.healthy = healthy
        update.status.message = str(second)
        update.status.timestamp.seconds = second
        await agent.call.write(AgentMessage(statuses=[update]))
        await until(
            lambda at=str(second): manager.store.view.tasks.get(mine.id).status.message == at
        )
        assert manager.store.view.tasks.get(mine.id).status.healthy == healthy


async def test_a_state_that_is_reported_again_was_reached_when_it_was_first_reported(
    manager: Manager, agents: Agents
) -> None:
    """An agent that was restarted adopts what never stopped; another process began anew."""
    mine = task("n1")
    manager.put(node("n1"), mine)
    agent = await agents("n1").connect()
    seen = []
    for second, healthy, pid in (
        (1000, True, 7),
        (2000, False, 7),
        (3000, True, 7),
        (4000, True, 8),
    ):
        update = TaskStatusUpdate(task_id=mine.id)
        update.status.state = task_states.RUNNING
        update.status.healthy = healthy
        update.status.message = str(second)
        update.status.timestamp.seconds = second
        update.status.container.container_id = "c" * 64
        update.status.container.pid = pid
        await agent.call.write(AgentMessage(statuses=[update]))
        await until(
            lambda at=str(second): manager.store.view.tasks.get(mine.id).status.message == at
        )
        status = manager.store.view.tasks.get(mine.id).status
        seen.append((status.timestamp.seconds, status.applied_at.ToNanoseconds()))
    assert [at for at, _ in seen] == [1000, 1000, 1000, 4000]
    assert seen[0][1] == seen[1][1] == seen[2][1] < seen[3][1]
    version = manager.store.view.tasks.get(mine.id).meta.version
    update.status.timestamp.seconds = 5000
    await agent.call.write(AgentMessage(statuses=[update]))
    await agent.report(mine.id, task_states.COMPLETE)
    await until(lambda: manager.store.view.tasks.get(mine.id).status.state == task_states.COMPLETE)
    assert manager.store.view.tasks.get(mine.id).meta.version.index == version.index + 1
