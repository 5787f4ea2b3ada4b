"""What managers say of images: who has one, who wants it first, and who may have it at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from api_world import Agent, Manager, node, task, until

from swarmlite import rpc
from swarmlite.errors import InvalidSpec, NotFound, PermissionDenied
from swarmlite.identity import tickets
from swarmlite.identity.certificates import Certificates
from swarmlite.manager.ca.root import MANAGER, RootCA, Subject, new_request
from swarmlite.manager.server import serving
from swarmlite.model import task_states
from swarmlite.proto.control_pb2 import CarryImageRequest, CarryImageResponse
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.dispatcher_pb2 import (
    AgentMessage,
    FetchReport,
    FindImageRequest,
    FindImageResponse,
    HeldImages,
)
from swarmlite.proto.dispatcher_pb2_grpc import DispatcherStub
from swarmlite.proto.objects_pb2 import Node, Task

Agents = Callable[[str], Agent]
APP, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


@pytest.fixture
def certificates(tmp_path: Path, manager: Manager) -> Certificates:
    """The manager's own, and a manager that knows of images."""
    root = RootCA.create()
    key, csr = new_request()
    (tmp_path / "ca.crt").write_bytes(root.cert)
    (tmp_path / "node.key").write_bytes(key)
    subject = Subject(manager.node_id, MANAGER, "cluster")
    (tmp_path / "node.crt").write_bytes(root.issue(csr, subject))
    found = Certificates(tmp_path)
    manager.carry(found)
    return found


def serving_node(node_id: str) -> Node:
    made = node(node_id, ready=True)
    made.description.data_path_addr = f"192.0.2.{len(node_id) + 10}"
    made.description.image_port = 2378
    return made


def of_image(node_id: str, state: int = task_states.ASSIGNED, digest: str = APP) -> Task:
    made = task(node_id)
    made.spec.container.image = f"app:1@{digest}"
    made.status.state = state  # type: ignore[assignment]
    return made


async def find(agent: Agent, digest: str = APP) -> FindImageResponse:
    with rpc.translated():
        stub = DispatcherStub(agent.channel)
        found: FindImageResponse = await stub.FindImage(
            FindImageRequest(digest=digest), metadata=(("node", agent.node_id),), timeout=10
        )
    return found


async def say(agent: Agent, **fields: Any) -> None:
    await agent.call.write(AgentMessage(images=HeldImages(**fields)))


async def test_only_nodes_with_a_task_of_the_image_get_a_ticket(
    manager: Manager, agents: Agents, certificates: Certificates
) -> None:
    """Its own, for a minute; of a task that has ended no more, and of another image never."""
    mine = of_image("n1")
    manager.put(serving_node("n1"), serving_node("n2"), mine)
    found = await find(agents("n1"))
    assert tickets.check(found.ticket, certificates, "n1", {manager.node_id}) == APP
    for asking, digest in (("n2", APP), ("n1", OTHER)):
        with pytest.raises(PermissionDenied, match=f"no task of node {asking} names"):
            await find(agents(asking), digest)
    with pytest.raises(InvalidSpec, match="digest"):
        await find(agents("n1"), "app:1")
    mine.desired_state = task_states.SHUTDOWN
    manager.put(mine)
    with pytest.raises(PermissionDenied):
        await find(agents("n1"))


async def test_holders_are_who_said_so_and_whose_tasks_have_it(
    manager: Manager, agents: Agents, certificates: Certificates
) -> None:
    manager.put(*(serving_node(name) for name in ("n1", "n2", "n3", "down")))
    manager.put(of_image("n1"), of_image("n3", task_states.RUNNING))
    said = await agents("n2").connect()
    await say(said, complete=True, added=[APP, "nonsense", "sha256:short"])

    async def holders() -> set[str]:
        return {one.node_id for one in (await find(agents("n1"))).holders}

    async with asyncio.timeout(10):
        while await holders() != {"n2", "n3"}:
            await asyncio.sleep(0.01)
    await say(said, removed=[APP])
    async with asyncio.timeout(10):
        while await holders() != {"n3"}:
            await asyncio.sleep(0.01)
    await say(said, added=[APP])
    async with asyncio.timeout(10):
        while await holders() != {"n2", "n3"}:
            await asyncio.sleep(0.01)
    await said.close()
    async with asyncio.timeout(10):
        while await holders() != {"n3"}:
            await asyncio.sleep(0.01)


async def test_of_those_who_want_it_one_is_first_for_everybody(
    manager: Manager, agents: Agents, certificates: Certificates
) -> None:
    """The others are told of those before them; who comes later does not become the first."""
    names = [f"n{number}" for number in range(6)]
    manager.put(*(serving_node(name) for name in names))
    manager.put(*(of_image(name) for name in names[:5]))
    answers = {name: await find(agents(name)) for name in names[:5]}
    order = sorted(answers, key=lambda name: len(answers[name].expecting))
    for place, name in enumerate(order):
        assert [one.node_id for one in answers[name].expecting] == order[:place]
    manager.put(of_image("n5"))
    late = await find(agents("n5"))
    assert [one.node_id for one in late.expecting] == order
    first = await find(agents(order[0]))
    assert not first.expecting and not first.holders


# push --nodes
async def carry(control: ControlStub, **fields: Any) -> list[CarryImageResponse]:
    with rpc.translated():
        call = control.CarryImage(CarryImageRequest(**fields), timeout=20)
        return [answer async for answer in call]


async def test_nodes_are_asked_to_keep_an_image_and_say_how_it_went(
    manager: Manager, agents: Agents, control: ControlStub, certificates: Certificates
) -> None:
    """They get a ticket while somebody waits; one that is down or goes away is named."""
    manager.put(serving_node("n1"), serving_node("n2"), node("gone"))
    good, bad = await agents("n1").connect(), await agents("n2").connect()
    carried = asyncio.create_task(
        carry(control, ref="app:1", digest=APP, nodes=["n1", "n2", "gone"])
    )
    await good.until(lambda: bool(good.fetches))
    await bad.until(lambda: bool(bad.fetches))
    order = good.fetches[0]
    assert (order.ref, order.digest) == ("app:1", APP)
    assert (await find(good)).ticket
    step = FetchReport(id=order.id, layer="1234", status="Downloading", current_bytes=1)
    stolen = FetchReport(id=bad.fetches[0].id, done=True)
    for report in (step, stolen, FetchReport(id=order.id, status="Complete", done=True)):
        await good.call.write(AgentMessage(fetch=report))
    await until(lambda: not carried.done())
    await bad.close()
    answers = await carried
    ends = {one.node_id: one.error for one in answers if one.done}
    assert ends["n1"] == "" and "session ended" in ends["n2"]
    assert ends["gone"] == "the node is unknown"
    assert [one.layer for one in answers if one.node_id == "n1" and not one.done] == ["1234"]
    with pytest.raises(PermissionDenied):
        await find(good)


@pytest.fixture
async def elsewhere(
    manager: Manager, control: ControlStub, certificates: Certificates, socket_path: Path
) -> AsyncIterator[ControlStub]:
    """Another manager of the same cluster, with no session of its own."""
    second = Manager(manager.store)
    first = node(manager.node_id, ready=True, manager=True)
    manager.put(first)

    def channel(address: str) -> grpc.aio.Channel:
        assert address == first.manager_status.addr
        return rpc.unix_channel(socket_path)

    second.carry(certificates, channel)
    place = socket_path.with_name("second.sock")
    async with (
        serving(
            [second.register],
            lambda: second.store.view,
            socket_path=place,
            listen_addr=None,
            certificates_dir=place.parent,
        ),
        rpc.unix_channel(place) as opened,
    ):
        yield ControlStub(opened)


async def test_a_manager_asks_the_one_that_has_a_nodes_session(
    manager: Manager, agents: Agents, elsewhere: ControlStub
) -> None:
    """Progress and ends come through it; who goes away there is named here."""
    nodes = [serving_node("n1"), serving_node("n2")]
    for one in nodes:
        one.status.manager_id = manager.node_id
    manager.put(*nodes)
    good, bad = await agents("n1").connect(), await agents("n2").connect()
    carried = asyncio.create_task(carry(elsewhere, ref="app:1", digest=APP, nodes=["n1", "n2"]))
    for agent in (good, bad):
        await agent.until(lambda agent=agent: bool(agent.fetches))
    order = good.fetches[0]
    assert (order.ref, order.digest, order.tell) == ("app:1", APP, False)
    step = FetchReport(id=order.id, layer="1234", status="Downloading", current_bytes=1)
    for report in (step, FetchReport(id=order.id, status="Complete", done=True)):
        await good.call.write(AgentMessage(fetch=report))
    await bad.close()
    answers = await carried
    ends = {one.node_id: one.error for one in answers if one.done}
    assert ends["n1"] == "" and "session ended" in ends["n2"]
    assert [one.layer for one in answers if one.node_id == "n1" and not one.done] == ["1234"]


async def test_a_node_tells_by_which_digest_it_has_an_image(
    manager: Manager, agents: Agents, control: ControlStub, elsewhere: ControlStub
) -> None:
    """Whichever manager is asked; of one node, and for no ticket."""
    asked = serving_node("n1")
    asked.status.manager_id = manager.node_id
    manager.put(asked)
    agent = await agents("n1").connect()
    for number, client in enumerate((control, elsewhere)):
        telling = asyncio.create_task(carry(client, ref="app:1", nodes=["n1"], tell=True))
        orders: list[Any] = []

        def ordered(number: int = number, orders: list[Any] = orders) -> bool:
            orders[:] = [order for order in agent.fetches if not order.cancel]
            return len(orders) > number

        await agent.until(ordered)
        assert orders[number].tell and not orders[number].digest
        with pytest.raises(PermissionDenied):
            await find(agent)
        said = FetchReport(id=orders[number].id, done=True, digest=APP)
        await agent.call.write(AgentMessage(fetch=said))
        assert [(one.digest, one.done, one.error) for one in await telling] == [(APP, True, "")]
    for nodes in ([], ["n1", "n1"]):
        with pytest.raises(InvalidSpec, match="expected NAME:TAG and one node"):
            await carry(control, ref="app:1", nodes=nodes, tell=True)


async def test_who_stops_waiting_takes_the_order_back(
    manager: Manager, agents: Agents, control: ControlStub, certificates: Certificates
) -> None:
    manager.put(serving_node("n1"))
    agent = await agents("n1").connect()
    carried = asyncio.create_task(carry(control, ref="app:1", digest=APP))
    await agent.until(lambda: bool(agent.fetches))
    carried.cancel()
    await agent.until(lambda: agent.fetches[-1].cancel)
    with pytest.raises(PermissionDenied):
        await find(agent)


async def test_orders_that_make_no_sense_are_refused(
    manager: Manager, control: ControlStub, certificates: Certificates
) -> None:
    manager.put(serving_node("n1"))
    with pytest.raises(NotFound, match="node nobody not found"):
        await carry(control, ref="app:1", digest=APP, nodes=["nobody"])
    for ref, digest in (("app:1", "latest"), (f"app@{APP}", APP), ("App", APP)):
        with pytest.raises(InvalidSpec):
            await carry(control, ref=ref, digest=digest)
