"""Plain containers on attachable networks: addresses from the managers, and back to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_world import Agent, Manager, cluster, node, service_spec, task, until

from swarmlite import rpc
from swarmlite.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    SwarmliteError,
    Unavailable,
)
from swarmlite.manager.dispatcher import attachments
from swarmlite.manager.loop import run
from swarmlite.manager.loops import leader_loops
from swarmlite.manager.store.api import Delete, Fence
from swarmlite.model import task_states
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.dispatcher_pb2 import (
    AttachContainerRequest,
    AttachContainerResponse,
    DetachContainerRequest,
    HeldAttachment,
)
from swarmlite.proto.dispatcher_pb2_grpc import DispatcherStub
from swarmlite.proto.objects_pb2 import Network

ID = "a" * 64


def network(
    name: str = "front", *, attachable: bool = True, subnet: str = "10.7.0.0/29"
) -> Network:
    made = Network(id=f"id-of-{name}")
    made.spec.annotations.name = name
    made.spec.driver.name = "overlay"
    made.spec.attachable = attachable
    made.spec.ipam.configs.add(subnet=subnet)
    return made


@pytest.fixture
async def led(manager: Manager) -> AsyncIterator[Manager]:
    """The manager leads: its loops run over the store in memory, with the real clock."""
    manager.put(network(), node("n1", ready=True), node("n2", ready=True))
    loops = [
        asyncio.ensure_future(run(loop, manager.store, Fence(0), time.time))
        for loop in leader_loops()
    ]
    yield manager
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)


async def attach(
    agent: Agent, name: str = "db", container_id: str = ID, **fields: Any
) -> AttachContainerResponse:
    request = AttachContainerRequest(
        network="front", container_id=container_id, container_name=name
    )
    for key, value in fields.items():
        if isinstance(value, list):
            getattr(request, key).extend(value)
        else:
            setattr(request, key, value)
    with rpc.translated():
        stub = DispatcherStub(agent.channel)
        answer: AttachContainerResponse = await stub.AttachContainer(
            request, metadata=(("node", agent.node_id),)
        )
        return answer


async def detach(agent: Agent, container_id: str = ID, network: str = "") -> None:
    request = DetachContainerRequest(container_id=container_id, network=network)
    with rpc.translated():
        await DispatcherStub(agent.channel).DetachContainer(
            request, metadata=(("node", agent.node_id),)
        )


def held(manager: Manager) -> list[Any]:
    return [t for t in manager.store.view.tasks if task_states.is_attachment(t)]


async def test_a_container_gets_an_address_and_every_node_of_the_network_its_endpoint(
    led: Manager, agents: Callable[[str], Agent]
) -> None:
    first, second = await agents("n1").connect(), await agents("n2").connect()
    one = await attach(first, hostname="dbhost", aliases=["data"])
    assert one.network.spec.annotations.name == "front"
    assert one.network.ipam.configs[0].subnet == "10.7.0.0/29"
    assert list(one.attachment.addresses) == ["10.7.0.2/29"]
    assert one.attachment.mac == "02:42:0a:07:00:02"
    two = await attach(second, "web", "b" * 64)
    await first.until(lambda: len(first.of("endpoint")) == 2)
    await second.until(lambda: len(second.of("endpoint")) == 2)
    assert "id-of-front" in second.of("network")
    mine = next(e for e in second.of("endpoint").values() if e.name == "db")
    assert mine.addr == one.attachment.addresses[0] != two.attachment.addresses[0]
    assert mine.in_rotation and mine.container_id == ID and mine.hostname == "dbhost"
    assert list(mine.aliases) == ["db", "data"]
    assert (mine.node_id, mine.service_id) == ("n1", "")
    assert not first.of("task") and not second.of("task")


async def test_detaching_gives_the_address_back_and_may_be_repeated(
    led: Manager, agents: Callable[[str], Agent]
) -> None:
    agent = await agents("n1").connect()
    await attach(agent)
    await detach(agent, network="front")
    await detach(agent, network="front")
    await detach(agent)
    assert not held(led)
    await agent.until(lambda: not agent.of("endpoint") and not agent.of("network"))
    # Five addresses of a /29 are left beside its gateway: all of them are to be had.
    for number in range(5):
        await attach(agent, f"c{number}", f"{number}" * 64)
    with pytest.raises(FailedPrecondition, match=r"no address left in 10\.7\.0\.0/29"):
        await attach(agent, "c6", "6" * 64)
    assert len(held(led)) == 5


def test_an_address_of_a_family_whose_subnet_is_yet_to_be_chosen_may_be_right() -> None:
    """Once all are chosen it is not."""
    made = network(subnet="fd00:1::/64")
    made.spec.ipv6_enabled = True
    attachments.check_address(made, ["10.7.0.5", "fd00:1::5"])
    with pytest.raises(InvalidSpec, match="--ip fd00:2::5 is outside of the subnet of network"):
        attachments.check_address(made, ["fd00:2::5"])
    made.ipam.CopyFrom(made.spec.ipam)
    with pytest.raises(InvalidSpec, match=r"--ip 10\.7\.0\.5 is outside of the subnet of network"):
        attachments.check_address(made, ["10.7.0.5"])


async def test_another_nodes_container_is_not_detached(
    led: Manager, agents: Callable[[str], Agent]
) -> None:
    await attach(agents("n1"))
    await detach(agents("n2"))
    assert len(held(led)) == 1


async def test_asking_again_answers_the_same_attachment_and_takes_new_names(
    led: Manager, agents: Callable[[str], Agent]
) -> None:
    agent = await agents("n1").connect()
    first = await attach(agent, addresses=["10.7.0.5"])
    again = await attach(agent, addresses=["10.7.0.5"])
    assert again.attachment == first.attachment
    await attach(agent, "re..named-", aliases=["x"])  # any name that Docker takes
    await attach(agent, "renamed", aliases=["x"])
    assert len(held(led)) == 1
    await agent.until(lambda: [e.name for e in agent.of("endpoint").values()] == ["renamed"])
    (endpoint,) = agent.of("endpoint").values()
    assert list(endpoint.aliases) == ["renamed", "x"] and endpoint.addr == "10.7.0.5/29"


@pytest.mark.parametrize(
    ("fields", "error", "line"),
    [
        ({"network": "none-such"}, NotFound, "network none-such not found"),
        ({"network": "closed"}, FailedPrecondition, "network closed is not attachable"),
        ({"addresses": ["10.8.0.2"]}, InvalidSpec, "outside of the subnet of network front"),
        ({"addresses": ["10.7.0.7"]}, InvalidSpec, "not a host address of 10.7.0.0/29"),
        ({"addresses": ["x"]}, InvalidSpec, "--ip: 'x'"),
        ({"addresses": ["10.7.0.1"]}, AlreadyExists, "10.7.0.1 is already in use"),
        ({"addresses": ["10.7.0.2", "10.7.0.3"]}, InvalidSpec, "2 addresses for 1 subnet"),
        ({"aliases": ["a b"]}, InvalidSpec, "--network-alias"),
        ({"aliases": ["a"] * 65}, InvalidSpec, "64 at most"),
        ({"hostname": "a\nb"}, InvalidSpec, "--hostname"),
        ({"container_id": "../x"}, InvalidSpec, "container id"),
        ({"container_name": ""}, InvalidSpec, "container name"),
    ],
)
async def test_what_cannot_be_is_refused_in_one_line_and_leaves_nothing(
    led: Manager,
    agents: Callable[[str], Agent],
    fields: dict[str, Any],
    error: type[SwarmliteError],
    line: str,
) -> None:
    led.put(network("closed", attachable=False, subnet="10.9.0.0/24"))
    fields = {"name": fields.pop("container_name", "db"), **fields}
    with pytest.raises(error, match=line) as refused:
        await attach(agents("n1"), **fields)
    assert "\n" not in str(refused.value) and "id-of" not in str(refused.value)
    assert not held(led)


async def test_without_a_leader_the_wait_is_bounded_and_nothing_stays(
    manager: Manager, agents: Callable[[str], Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "ALLOCATION_WAIT_S", 0.2)
    manager.put(network(), node("n1", ready=True))
    with pytest.raises(Unavailable, match="no address was given"):
        await attach(agents("n1"))
    assert not held(manager)


async def test_a_call_that_is_given_up_leaves_nothing(
    manager: Manager, agents: Callable[[str], Agent]
) -> None:
    manager.put(network(), node("n1", ready=True))
    call = asyncio.ensure_future(attach(agents("n1")))
    await until(lambda: len(held(manager)) == 1)
    call.cancel()
    await until(lambda: not held(manager))


async def test_a_hello_releases_what_it_does_not_name(
    led: Manager, agents: Callable[[str], Agent]
) -> None:
    agent = await agents("n1").connect()
    await attach(agent)
    await attach(agent, "web", "b" * 64)
    await attach(agents("n2"), "other", "c" * 64)
    await attach(agent, "asked", "d" * 64)
    kept = [
        HeldAttachment(container_id=ID, network_id="id-of-front"),
        HeldAttachment(container_id="d" * 64, network_id="front"),  # as it was asked for
    ]
    await agent.connect("two", kept)
    await until(lambda: {t.annotations.name for t in held(led)} == {"db", "asked", "other"})


async def test_an_attachment_is_no_task_to_anyone(
    led: Manager, agents: Callable[[str], Agent], control: ControlStub
) -> None:
    agent = await agents("n1").connect()
    watch = control.Watch(pb.WatchRequest(kinds=["task"]))
    await watch.read()
    await attach(agent)
    (attached,) = held(led)
    listed = await control.ListTasks(pb.ListTasksRequest())
    node_filter = pb.Filter(key="node", values=["n1"])
    of_node = await control.ListTasks(pb.ListTasksRequest(filters=[node_filter]))
    assert not listed.tasks and not of_node.tasks
    with pytest.raises(NotFound), rpc.translated():
        await control.GetTask(pb.GetRequest(ref=attached.id))
    # A report about it is not taken, and a drained node keeps it.
    await agent.report(attached.id, task_states.FAILED)
    drained = led.store.view.nodes.get("n1")
    changed = type(drained)()
    changed.CopyFrom(drained)
    changed.spec.availability = changed.spec.DRAIN
    led.put(changed)
    service = await control.CreateService(pb.CreateServiceRequest(spec=service_spec()))
    await until(lambda: len(led.store.view.tasks.of_service(service.id)) == 2)
    event = await watch.read()
    assert {e.task.service_id for e in event.events} == {service.id}
    watch.cancel()
    (still,) = held(led)
    assert still.status.state == task_states.RUNNING and still.node_id == "n1"


async def test_a_network_with_a_container_on_it_is_not_removed(
    led: Manager, agents: Callable[[str], Agent], control: ControlStub
) -> None:
    await attach(agents("n1"))
    with (
        pytest.raises(FailedPrecondition, match="front is in use by container db on node host-n1"),
        rpc.translated(),
    ):
        await control.RemoveNetwork(pb.RemoveRequest(ref="front"))
    await detach(agents("n1"))
    await control.RemoveNetwork(pb.RemoveRequest(ref="front"))


async def test_a_node_that_is_removed_takes_its_attachments_along(
    led: Manager, agents: Callable[[str], Agent], control: ControlStub
) -> None:
    await attach(agents("n1"))
    await control.RemoveNode(pb.RemoveNodeRequest(ref="n1", force=True))
    assert not held(led)


async def test_after_a_day_down_attachments_go_with_the_tasks() -> None:
    now = datetime.now(UTC)
    manager = Manager(now=lambda: now + timedelta(hours=25))
    manager.put(cluster(), node("n1"), node("n2", ready=True))
    for node_id in ("n1", "n2"):
        made = task(node_id, service_id="")
        made.spec.attachment.container_id = ID
        made.status.state = task_states.RUNNING
        manager.put(made)
    down = manager.store.view.nodes.get("n1")
    assert down is not None
    down.status.state = down.status.DOWN
    down.status.since.FromDatetime(now)
    gone = manager.dispatcher.orphans()
    assert [type(change) for change in gone] == [Delete]
    assert gone[0].obj.node_id == "n1"  # type: ignore[union-attr]
