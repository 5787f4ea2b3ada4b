"""A manager whose watch is late: what another manager has acknowledged is there for its callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc.aio
import pytest
from etcd_world import KEYS
from test_store import a_service, changed

from swarmlite.errors import AlreadyExists, FailedPrecondition
from swarmlite.manager.controlapi import ControlService
from swarmlite.manager.dispatcher.sessions import Sessions
from swarmlite.manager.logbroker import LogBroker
from swarmlite.manager.server import serving
from swarmlite.manager.store import etcd as etcd_store
from swarmlite.manager.store.api import Guard, GuardMoved, Put
from swarmlite.manager.store.etcd import EtcdStore, open_store
from swarmlite.manager.store.etcd_client import EtcdClient
from swarmlite.manager.tunnels import Tunnels
from swarmlite.model import task_states
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub, add_ControlServicer_to_server
from swarmlite.proto.objects_pb2 import Network, Node, Service, Task

T = TypeVar("T")


class Late(EtcdClient):
    """What a watch brings waits for the gate."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        super().__init__(*arguments, **options)

    async def watch(self, *arguments: Any, **options: Any) -> AsyncIterator[Sequence[Any]]:
        async for events in super().watch(*arguments, **options):
            await self.gate.wait()
            yield events


@asynccontextmanager
async def manager(store: EtcdStore, folder: Path) -> AsyncIterator[ControlStub]:
    """What clients call, by the store."""
    sessions = Sessions()
    control = ControlService(
        store,
        "node1",
        LogBroker(store, sessions, "node1"),
        tunnels=Tunnels(store, sessions, "node1", None),
    )
    async with (
        serving(
            [lambda server: add_ControlServicer_to_server(control, server)],
            lambda: store.view,
            socket_path=folder / "socket",
            listen_addr=None,
            certificates_dir=folder,
            look_up=store.look_up,
        ),
        grpc.aio.insecure_channel(f"unix:{folder / 'socket'}") as channel,
    ):
        yield ControlStub(channel)


@asynccontextmanager
async def beside(
    late: Late, client: EtcdClient, folder: Path
) -> AsyncIterator[tuple[EtcdStore, EtcdStore, ControlStub]]:
    """Another manager's store, and the one that is late with what clients call by it."""
    async with (
        open_store(client, KEYS) as other,
        open_store(late, KEYS) as store,
        manager(store, folder) as stub,
    ):
        yield other, store, stub


@pytest.fixture
async def late(etcd: Any, client: EtcdClient) -> AsyncIterator[Late]:
    """On a clean key space."""
    made = Late([etcd.endpoint], etcd.certificates_dir)
    yield made
    await made.close()


async def opened_after(late: Late, call: Awaitable[T]) -> T:
    """The answer of a call that asks etcd, and waits for the watch then."""
    asked = late.calls["txn"].ended["done"]
    running = asyncio.ensure_future(call)
    async with asyncio.timeout(60):
        while late.calls["txn"].ended["done"] == asked and not running.done():
            await asyncio.sleep(0.01)
    assert not running.done()
    late.gate.set()
    return await running


async def test_what_another_manager_acknowledged_is_found_changed_and_removed(
    late: Late, client: EtcdClient, tmp_path: Path
) -> None:
    """By its id, the beginning of its id, and its name; and what is nowhere is not waited for."""
    async with beside(late, client, tmp_path) as (other, store, stub):

        def complete(name: str) -> Service:
            service = a_service(name)
            service.spec.task.container.image = "busybox"
            service.spec.replicated.replicas = 1
            return service

        async def made(name: str) -> Any:
            await late_until(store, other)
            late.gate.clear()
            service = complete(name)
            await other.commit([Put(service)])
            return other.view.services.get(service.id)

        for ref in ("id", "short", "name"):
            service = await made(f"get-{ref}")
            asked = {"id": service.id, "short": service.id[:12], "name": f"get-{ref}"}[ref]
            got = await opened_after(late, stub.GetService(pb.GetRequest(ref=asked)))
            assert got.id == service.id
        service = await made("changed")
        update = pb.UpdateServiceRequest(service_id=service.id, version=service.meta.version)
        update.spec.CopyFrom(service.spec)
        update.spec.annotations.labels["a"] = "b"
        assert (await opened_after(late, stub.UpdateService(update))).id == service.id
        service = await made("gone")
        await opened_after(late, stub.RemoveService(pb.RemoveRequest(ref=service.id)))
        # What a new service names, too: two networks, neither of which is in the view yet.
        await late_until(store, other)
        late.gate.clear()
        networks = [Network(id=f"net{number}") for number in range(2)]
        for network in networks:
            network.spec.annotations.name = network.id
            await other.commit([Put(network)])
        create = pb.CreateServiceRequest(spec=complete("new").spec)
        for network in networks:
            create.spec.task.networks.add(target=network.id)
        await opened_after(late, stub.CreateService(create))
        for ref in ("nothing", "x" * 300):
            late.gate.clear()
            with pytest.raises(grpc.aio.AioRpcError, match="not found"):
                await stub.GetService(pb.GetRequest(ref=ref))


async def test_streams_of_what_another_manager_acknowledged_begin_here(
    late: Late, client: EtcdClient, tmp_path: Path
) -> None:
    """Logs, a tunnel to a task or a node, a network's check: each by what it names."""
    async with beside(late, client, tmp_path) as (other, store, stub):
        service, task, node = a_service("web"), Task(id="task1", node_id="n1"), Node(id="n1")
        node.description.hostname = "first"
        task.status.state = task_states.RUNNING
        network = Network(id="net1")
        network.spec.annotations.name = "backend"

        async def logs(**named: Any) -> int:
            request = pb.LogsRequest()
            request.selector.MergeFrom(pb.LogSelector(**named))
            return sum([len(answer.messages) async for answer in stub.ServiceLogs(request)])

        async def tunnel(**named: Any) -> str:
            call: Any = stub.TaskTunnel()
            await call.write(pb.TunnelData(to=pb.TunnelTo(**named)))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call.read()
            return str(refused.value.details())

        async def check(ref: str) -> str:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await anext(aiter(stub.CheckNetwork(pb.CheckNetworkRequest(ref=ref))))
            return str(refused.value.details())

        async def written(obj: Any) -> None:
            await late_until(store, other)
            late.gate.clear()
            await other.commit([Put(obj)])

        await written(service)
        assert await opened_after(late, logs(service_ids=[service.id])) == 0
        await written(node)
        assert "node first is not connected" in await opened_after(late, tunnel(node="n1"))
        await written(task)
        said = await opened_after(late, tunnel(task="task1", access=pb.TunnelTo.READ))
        assert "node first of task task1 is not connected" in said
        await written(network)
        assert "checks no networks" in await opened_after(late, check("backend"))
        late.gate.clear()
        with pytest.raises(grpc.aio.AioRpcError, match="service nothing not found"):
            await logs(service_ids=["nothing"])
        assert await tunnel(task="nothing") == "task nothing not found"
        assert await check("nothing") == "network nothing not found"


async def test_a_plan_that_was_refused_is_answered_once_the_view_shows_why(
    late: Late, client: EtcdClient
) -> None:
    """Who decides again at once would be refused again, and again."""
    async with open_store(client, KEYS) as other, open_store(late, KEYS) as store:
        service = a_service("web")
        await other.commit([Put(service)])
        await late_until(store, other)
        late.gate.clear()
        stale = changed(store.view.services.get(service.id))
        newer = await other.commit([Put(changed(other.view.services.get(service.id)))])
        asked = late.calls["txn"].ended["done"]
        planned = asyncio.ensure_future(store.commit_many([Put(stale)]))
        async with asyncio.timeout(60):
            while late.calls["txn"].ended["done"] < asked + 2 and not planned.done():
                await asyncio.sleep(0.01)
            late.gate.set()
            assert [change.obj.id for change in await planned] == [service.id]
        seen = store.view.services.get(service.id)
        assert seen is not None and seen.meta.version.index == newer


async def test_without_an_etcd_that_answers_the_view_is_all_that_there_is(
    etcd: Any, client: EtcdClient, tmp_path: Path
) -> None:
    """What it lacks is not found, as it is not listed; what it has is shown."""
    async with open_store(client, KEYS) as store, manager(store, tmp_path) as stub:
        await store.commit([Put(a_service("web"))])
        etcd.stop()
        try:
            assert (await stub.GetService(pb.GetRequest(ref="web"))).spec.annotations.name == "web"
            with pytest.raises(grpc.aio.AioRpcError, match="service db not found"):
                await stub.GetService(pb.GetRequest(ref="db"))
            async with asyncio.timeout(60):
                while store.connected:
                    await asyncio.sleep(0.01)
            asked = sum(client.calls["txn"].ended.values())
            with pytest.raises(grpc.aio.AioRpcError, match="service db not found"):
                await stub.GetService(pb.GetRequest(ref="db"))
            assert sum(client.calls["txn"].ended.values()) == asked  # nor waited for
        finally:
            etcd.start()


async def late_until(store: EtcdStore, other: EtcdStore) -> None:
    """The late one has what the other has, and follows."""
    async with asyncio.timeout(60):
        while not store.connected or store.view.revision < other.view.revision:
            await asyncio.sleep(0.01)


async def test_what_a_view_does_not_see_in_time_is_with_another_manager(
    late: Late, client: EtcdClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is not found where etcd refuses to be asked."""

    async def refused(*arguments: Any) -> Any:
        raise FailedPrecondition("not now")

    async with beside(late, client, tmp_path) as (other, store, stub):
        await late_until(store, other)
        late.gate.clear()
        await other.commit([Put(a_service("web"))])
        monkeypatch.setattr(etcd_store, "REACH_TIMEOUT_S", 0.1)
        told = "service web is in the store, but this manager has not seen it yet: ask another"
        with pytest.raises(grpc.aio.AioRpcError, match=told):
            await stub.GetService(pb.GetRequest(ref="web"))
        monkeypatch.setattr(late, "txn", refused)
        with pytest.raises(grpc.aio.AioRpcError, match="service web not found"):
            await stub.GetService(pb.GetRequest(ref="web"))
        late.gate.set()


async def test_what_others_write_to_the_same_etcd_is_not_waited_for(
    etcd: Any, client: EtcdClient
) -> None:
    """A name that is taken and a guard that moved are told at once, of an etcd that is shared."""
    shared = [
        EtcdClient([etcd.endpoint], etcd.certificates_dir, prefix=b"/shared") for _ in range(2)
    ]
    async with open_store(shared[0], KEYS) as store, open_store(shared[1], KEYS) as other:
        await other.commit([Put(a_service("web"))], guard=Guard("ports", 0))
        await late_until(store, other)
        await client.put(b"/somebody/else", b"")
        with pytest.raises(AlreadyExists):
            await store.commit([Put(a_service("web"))])
        with pytest.raises(GuardMoved):
            await store.commit([Put(a_service("db"))], guard=Guard("ports", 0))
        kept = changed(next(iter(store.view.services)))
        await store.commit([Put(kept)], guard=Guard("ports", store.view.guards["ports"]))
    for each in shared:
        await each.close()
