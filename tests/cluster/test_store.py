"""One suite for both stores: what the contract of store/api.py promises."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest
from aetcd import rpc
from etcd_world import KEYS

from swarmlite.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidSpec,
    Unavailable,
)
from swarmlite.ids import new_id
from swarmlite.manager.controlapi.api import Api
from swarmlite.manager.controlapi.services import Services
from swarmlite.manager.members import EtcdMembers
from swarmlite.manager.roles import LostLearners
from swarmlite.manager.store.api import (
    Action,
    Delete,
    Fence,
    Fenced,
    Guard,
    GuardMoved,
    Put,
    Resync,
)
from swarmlite.manager.store.etcd import ELECTION_KEY, open_store
from swarmlite.manager.store.etcd_client import EtcdClient
from swarmlite.manager.store.tables import name_of
from swarmlite.proto.control_pb2 import CreateServiceRequest
from swarmlite.proto.objects_pb2 import Config, Network, Node, Service, Task


def a_service(name: str) -> Service:
    service = Service(id=new_id())
    service.spec.annotations.name = name
    return service


def a_task(slot: int, service_id: str = "s") -> Task:
    return Task(id=new_id(), service_id=service_id, slot=slot)


def changed(obj: Any) -> Any:
    copy = type(obj)()
    copy.CopyFrom(obj)
    return copy


async def test_a_commit_is_in_the_own_view_when_it_returns(store: Any) -> None:
    service = a_service("web")
    revision = await store.commit([Put(service)])
    stored = store.view.services.get(service.id)
    assert stored.spec.annotations.name == "web"
    assert stored.meta.version.index == revision == store.view.revision
    assert stored.meta.created_at == stored.meta.updated_at
    assert abs(stored.meta.created_at.seconds - time.time()) < 5
    assert service.meta.version.index == 0, "the caller's object was changed"


async def test_an_update_keeps_the_creation_time_and_raises_the_version(store: Any) -> None:
    service = a_service("web")
    first = await store.commit([Put(service)])
    created = changed(store.view.services.get(service.id))
    update = changed(created)
    update.spec.annotations.labels["a"] = "b"
    assert await store.commit([Put(update)]) > first
    stored = store.view.services.get(service.id)
    assert stored.meta.created_at == created.meta.created_at
    assert stored.spec.annotations.labels["a"] == "b"
    assert store.view.services.named("web") == [stored]


async def test_a_commit_with_an_old_version_conflicts_and_writes_nothing(store: Any) -> None:
    service, other = a_service("web"), a_service("other")
    await store.commit([Put(service)])
    with pytest.raises(Conflict, match="service web: update out of sequence"):
        await store.commit([Put(other), Put(service)])
    assert len(store.view.services) == 1


async def test_a_removal_compares_the_version_too(store: Any) -> None:
    service = a_service("web")
    await store.commit([Put(service)])
    read = store.view.services.get(service.id)
    newer = changed(read)
    newer.pending_delete = True
    await store.commit([Put(newer)])
    with pytest.raises(Conflict):
        await store.commit([Delete(read)])
    await store.commit([Delete(store.view.services.get(service.id))])
    assert store.view.services.get(service.id) is None


async def test_events_come_in_order_with_what_was_before(store: Any) -> None:
    service = a_service("web")
    async with store.subscribe("service") as subscription:
        await store.commit([Put(service)])
        await store.commit([Put(Config(id=new_id()))])
        update = changed(store.view.services.get(service.id))
        update.pending_delete = True
        await store.commit([Put(update)])
        await store.commit([Delete(store.view.services.get(service.id))])
        events = subscription.drain()
    assert [e.action for e in events] == [Action.CREATE, Action.UPDATE, Action.REMOVE]
    assert events[1].old.pending_delete is False
    assert events[1].obj.pending_delete is True
    assert events[2].obj.id == service.id


async def test_a_transaction_takes_120_changes_and_no_more(store: Any) -> None:
    await store.commit([Put(a_task(i)) for i in range(120)])
    with pytest.raises(InvalidSpec, match="121 changes"):
        await store.commit([Put(a_task(i)) for i in range(121)])
    assert len(store.view.tasks.of_service("s")) == 120


async def test_many_changes_answer_those_that_conflicted(store: Any) -> None:
    taken = [a_task(i) for i in range(3)]
    await store.commit_many([Put(t) for t in taken])
    fresh = [a_task(i) for i in range(300)]
    batch = [*fresh[:100], taken[0], *fresh[100:200], taken[1], *fresh[200:], taken[2]]
    refused = await store.commit_many([Put(t) for t in batch])
    assert sorted(c.obj.id for c in refused) == sorted(t.id for t in taken)
    assert len(store.view.tasks) == 303


async def test_a_second_change_of_an_object_in_one_batch_is_refused(store: Any) -> None:
    task = a_task(1)
    refused = await store.commit_many([Put(task), Put(task)])
    assert len(refused) == 1
    assert store.view.tasks.get(task.id) is not None


async def test_a_write_with_another_epoch_is_fenced(store: Any) -> None:
    with pytest.raises(Fenced):
        await store.commit([Put(a_task(1))], Fence(987654321))
    with pytest.raises(Fenced):
        await store.commit_many([Put(a_task(1)), Put(a_task(2))], Fence(987654321))
    assert len(store.view.tasks) == 0


async def test_nodes_are_found_by_hostname(store: Any) -> None:
    node = Node(id=new_id())
    node.description.hostname = "alpha"
    await store.commit([Put(node)])
    assert [n.id for n in store.view.nodes.named("alpha")] == [node.id]


# etcd only
async def test_two_managers_see_each_others_writes(client: EtcdClient) -> None:
    async with (
        open_store(client, KEYS) as one,
        open_store(client, KEYS) as two,
        two.subscribe("service") as subscription,
    ):
        service = a_service("web")
        await one.commit([Put(service)])
        async with asyncio.timeout(5):
            events = await anext(aiter(subscription))
        assert events[0].obj.id == service.id
        with pytest.raises(Conflict):
            await two.commit([Put(service)])


async def test_the_first_list_has_many_pages(client: EtcdClient) -> None:
    async with open_store(client, KEYS) as store:
        await store.commit_many([Put(a_task(i)) for i in range(2500)])
    async with open_store(client, KEYS) as again:
        assert len(again.view.tasks) == 2500
        assert len({t.slot for t in again.view.tasks}) == 2500


async def test_ten_thousand_tasks_are_written_in_one_go(client: EtcdClient) -> None:
    async with open_store(client, KEYS) as store:
        tasks = [a_task(i) for i in range(10_000)]
        assert await store.commit_many([Put(t) for t in tasks]) == []
        assert len(store.view.tasks) == 10_000


async def test_large_objects_are_split_by_size(client: EtcdClient) -> None:
    async with open_store(client, KEYS) as store:
        configs = [Config(id=new_id()) for _ in range(10)]
        for config in configs:
            config.spec.data = b"x" * 400_000
        assert await store.commit_many([Put(c) for c in configs]) == []
        assert len(store.view.configs) == 10


async def test_a_compacted_watch_starts_subscribers_over(client: EtcdClient, etcd: Any) -> None:
    from aetcd import rpc

    other = etcd.client()
    async with open_store(client, KEYS) as store, open_store(other, KEYS) as writer:
        service = a_service("first")
        await store.commit([Put(service)])
        async with store.subscribe("service") as subscription:
            # The watch breaks, and what it missed is compacted before it is back.
            blocked = client.watch
            gate = asyncio.Event()

            async def late(*args: Any) -> Any:
                await gate.wait()
                async for events in blocked(*args):
                    yield events

            client.watch = late  # type: ignore[method-assign]
            await client._channel.close()
            client._connect()
            await asyncio.sleep(0.2)
            revision = await writer.commit([Put(a_service("missed"))])
            await writer.commit([Put(a_service("missed too"))])
            await other._call(other._kv.Compact, rpc.CompactionRequest(revision=revision + 1))
            gate.set()
            with pytest.raises(Resync):
                async with asyncio.timeout(10):
                    async for _ in subscription:
                        pass
            assert len(store.view.services) == 3
    await other.close()


async def test_a_relist_finds_what_the_watch_did_not_tell(client: EtcdClient) -> None:
    async with open_store(client, KEYS, relist_s=0.5) as store:
        service = a_service("web")
        await store.commit([Put(service)])
        async with store.subscribe("service") as subscription:
            store.view.services.pop(service.id)  # as if the event had been lost
            async with asyncio.timeout(5):
                events = await anext(aiter(subscription))
        assert events[0].obj.id == service.id


async def test_the_store_lives_through_a_restart_of_etcd(client: EtcdClient, etcd: Any) -> None:
    async with open_store(client, KEYS) as store:
        await store.commit([Put(a_service("before"))])
        etcd.stop()
        with pytest.raises(Unavailable):
            await store.commit([Put(a_service("while it is down"))])
        etcd.start()
        async with asyncio.timeout(30):
            while True:
                try:
                    await store.commit([Put(a_service("after"))])
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
        assert store.view.services.named("before")
        assert store.view.services.named("after")


async def test_a_renewed_certificate_costs_the_view_no_break(
    client: EtcdClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection to etcd is another one then; what follows it moves over and misses nothing."""
    async with open_store(client, KEYS) as store, store.subscribe("service") as subscription:
        heard = aiter(subscription)
        async with asyncio.timeout(60):
            while not store.connected:
                await asyncio.sleep(0.01)
            for name in ("first", "second"):
                await store.reconnect()
                await store.commit([Put(a_service(name))])
                (event,) = await anext(heard)
                assert event.obj.spec.annotations.name == name
        assert store.connected
    assert "no longer follows" not in caplog.text


async def test_the_fence_is_the_election_keys_create_revision(client: EtcdClient) -> None:
    from aetcd import rpc

    async with open_store(client, KEYS) as store:
        await client._call(client._kv.Put, rpc.PutRequest(key=ELECTION_KEY, value=b"me"))
        leader, _ = await client.get(ELECTION_KEY)
        assert leader is not None
        fence = Fence(leader.create_revision)
        await store.commit([Put(a_task(1))], fence)
        await client._call(client._kv.DeleteRange, rpc.DeleteRangeRequest(key=ELECTION_KEY))
        await client._call(client._kv.Put, rpc.PutRequest(key=ELECTION_KEY, value=b"another"))
        with pytest.raises(Fenced):
            await store.commit([Put(a_task(2))], fence)
        assert len(store.view.tasks) == 1


async def test_a_write_whose_answer_was_lost_is_written_once(client: EtcdClient) -> None:
    async with open_store(client, KEYS) as store:
        task, gone = a_task(1), a_task(2)
        await store.commit([Put(gone)])
        send, lost = client.txn, []

        async def losing(request: Any, timeout_s: float = 5) -> Any:
            answer = await send(request, timeout_s)
            if not lost:
                lost.append(answer.header.revision)
                raise Unavailable("the answer was lost")
            return answer

        client.txn = losing  # type: ignore[method-assign]
        changes = [Put(task), Delete(store.view.tasks.get(gone.id))]
        assert await store.commit(changes) == lost[0]
        assert {t.id for t in store.view.tasks} == {task.id}
        # One that another wrote meanwhile is a conflict all the same.
        lost.clear()
        client.txn = send  # type: ignore[method-assign]
        with pytest.raises(Conflict):
            await store.commit([Put(task)])


def a_config(name: str, size: int) -> Config:
    config = Config(id=new_id())
    config.spec.annotations.name = name
    config.spec.data = bytes(size)
    return config


async def test_what_is_too_large_is_refused_with_its_size_and_the_limit(store: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"config big: has 3000\d+ bytes, 1400000 at most"):
        await store.commit([Put(a_config("big", 3_000_000))])
    await store.commit([Put(a_config("fits", 1_399_000))])


async def test_what_is_too_large_keeps_nothing_else_of_a_batch_from_being_written(
    store: Any,
) -> None:
    changes = [Put(a_config(name, size)) for name, size in (("a", 9), ("b", 3_000_000), ("c", 9))]
    assert not await store.commit_many(changes)
    assert sorted(c.spec.annotations.name for c in store.view.configs) == ["a", "c"]


async def test_large_objects_are_listed_in_smaller_pages(client: EtcdClient) -> None:
    """All of them together are more than one message may have."""
    async with open_store(client, KEYS) as store:
        for number in range(60):
            await store.commit([Put(a_config(f"c{number}", 1_300_000))])
    async with asyncio.timeout(60), open_store(client, KEYS) as again:
        assert len(again.view.configs) == 60


async def test_a_value_that_nobody_can_read_is_passed_over(client: EtcdClient) -> None:
    async with open_store(client, KEYS) as store:
        await client.put(b"/swarmlite/v1/service/bad", b"\xff\xff\xff")
        await store.commit([Put(a_service("web"))])
        assert [s.spec.annotations.name for s in store.view.services] == ["web"]
    async with open_store(client, KEYS) as again:
        assert len(again.view.services) == 1


async def test_a_member_that_never_started_is_taken_out_by_its_id(client: EtcdClient) -> None:
    """It has no name yet; a node that has no member is no error."""
    members = EtcdMembers(client)
    added = await members.add("node2", "https://127.0.0.1:1")
    await members.remove("node3", "1234")
    assert len(await client.members()) == 2
    await members.remove("node2", f"{added.member_id:x}")
    await members.remove("node2", f"{added.member_id:x}")
    assert len(await client.members()) == 1


async def test_a_member_of_an_interrupted_join_is_taken_out_and_lets_another_in(
    client: EtcdClient,
) -> None:
    members, now = EtcdMembers(client), [0.0]
    lost = LostLearners(lambda: now[0], after_s=60)
    joining = Node(id="interrupted")
    added = await members.add(joining.id, "https://127.0.0.1:3")
    joining.manager_status.etcd_member_id = f"{added.member_id:x}"
    async with open_store(client, KEYS) as store:
        await store.commit([Put(joining)])
        leads = etcd_request(ELECTION_KEY)
        fence = Fence((await client.txn(leads)).header.revision)
        await lost.look(members, store, fence)
        assert list(await members.unstarted()) == [f"{added.member_id:x}"]
        with pytest.raises(FailedPrecondition, match="takes no member now"):
            await members.add("another", "https://127.0.0.1:4")
        now[0] = 61
        await lost.look(members, store, fence)
        assert await members.unstarted() == {}
        assert joining.id not in store.view.nodes
    again = await members.add("another", "https://127.0.0.1:4")
    await members.remove("", f"{again.member_id:x}")


def etcd_request(key: bytes) -> Any:
    """A transaction that writes the key."""
    request = rpc.TxnRequest()
    request.success.add().request_put.key = key
    return request


async def test_names_are_unique_in_the_transaction_without_regard_to_case(store: Any) -> None:
    """Whoever checked before: two managers may have done so at the same moment."""
    web = a_service("web")
    await store.commit([Put(web)])
    for name in ("web", "Web"):
        with pytest.raises(AlreadyExists, match=f"service {name} already exists"):
            await store.commit([Put(a_service(name))])
    await store.commit([Put(a_config("web", 1)), Put(a_service("other"))])
    assert sorted(s.spec.annotations.name for s in store.view.services) == ["other", "web"]
    update = changed(store.view.services.get(web.id))
    update.spec.annotations.labels["a"] = "b"
    await store.commit([Put(update)])
    await store.commit([Delete(store.view.services.get(web.id))])
    await store.commit([Put(a_service("WEB"))])
    await store.commit([Put(Node(id=new_id())), Put(Node(id=new_id()))])


async def test_of_many_that_take_one_name_at_the_same_moment_one_has_it(
    client: EtcdClient, etcd: Any
) -> None:
    clients = [client, etcd.client(), etcd.client()]
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(c, KEYS)) for c in clients]
        made = [a_service("Web" if number % 2 else "web") for number in range(12)]
        results = await asyncio.gather(
            *(stores[n % 3].commit([Put(service)]) for n, service in enumerate(made)),
            return_exceptions=True,
        )
        assert sum(isinstance(r, int) for r in results) == 1
        assert all(isinstance(r, int | AlreadyExists) for r in results)
    for other in clients[1:]:
        await other.close()


async def test_a_write_under_a_guard_is_refused_once_another_has_written(store: Any) -> None:
    seen = Guard("ports", store.view.guards.get("ports", 0))
    await store.commit([Put(a_service("a"))], guard=seen)
    with pytest.raises(GuardMoved):
        await store.commit([Put(a_service("b"))], guard=seen)
    assert len(store.view.services) == 1
    await store.commit([Put(a_service("b"))], guard=Guard("ports", store.view.guards["ports"]))
    await store.commit([Put(a_service("c"))])
    assert len(store.view.services) == 3


async def test_of_many_that_publish_one_port_at_the_same_moment_one_has_it(
    client: EtcdClient, etcd: Any
) -> None:
    """On managers of their own, each of which sees the port free when it looks."""
    clients = [client, etcd.client(), etcd.client()]
    async with contextlib.AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(c, KEYS)) for c in clients]
        network = Network(id=new_id())
        network.spec.ingress = True
        revision = await stores[0].commit([Put(network)])
        requests = []
        for number in range(9):
            request = CreateServiceRequest()
            request.spec.annotations.name = f"web{number}"
            request.spec.task.container.image = "busybox"
            request.spec.endpoint.ports.add(target_port=80, published_port=8080)
            requests.append(request)
        for store in stores:
            await store._mirror.reached(revision, 10)
        apis = [Services(Api(store, "n")) for store in stores]
        results = await asyncio.gather(
            *(apis[n % 3].create(request) for n, request in enumerate(requests)),
            return_exceptions=True,
        )
        assert sum(isinstance(r, Service) for r in results) == 1, results
        assert all("already in use by" in str(r) for r in results if not isinstance(r, Service))
        assert len(stores[0].view.services) == 1
    for other in clients[1:]:
        await other.close()


async def test_what_hindered_a_write_and_is_gone_by_now_hinders_it_no_more(
    etcd: Any, client: EtcdClient
) -> None:
    """A name that was given back, and an object that was removed, after the write was refused."""

    class Overtaken(EtcdClient):
        """Another store removes the service once a write of this one was refused."""

        async def txn(self, request: Any, timeout_s: float = 5.0) -> Any:
            answer = await super().txn(request, timeout_s)
            if not answer.succeeded and (known := next(iter(other.view.services), None)):
                await other.commit([Delete(known)])
            return answer

    overtaken = Overtaken([etcd.endpoint], etcd.certificates_dir)
    async with open_store(client, KEYS) as other, open_store(overtaken, KEYS) as store:
        await other.commit([Put(a_service("web"))])
        named = a_service("web")
        await store.commit([Put(named)])
        assert [service.id for service in store.view.services] == [named.id]
        async with asyncio.timeout(60):
            while named.id not in other.view.services:
                await asyncio.sleep(0.01)
        same = a_service("another")
        same.id = named.id
        await store.commit([Put(same)])
        assert [name_of(service) for service in store.view.services] == ["another"]
    await overtaken.close()


async def test_a_name_that_nothing_has_is_taken_over(client: EtcdClient) -> None:
    """A release that kept no names removed its service and left the key."""
    async with open_store(client, KEYS) as store:
        await client.put(b"/swarmlite/v1/names/service/web", b"gone")
        web = a_service("web")
        await store.commit([Put(web)])
        with pytest.raises(AlreadyExists):
            await store.commit([Put(a_service("web"))])
        await store.commit([Delete(store.view.services.get(web.id))])
        assert (await client.get(b"/swarmlite/v1/names/service/web"))[0] is None


async def test_a_mirror_that_fails_lists_again_and_its_readers_go_on(
    client: EtcdClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(client, KEYS) as store:
        failures = iter([RuntimeError("what nobody foresaw")])
        taken = store._mirror._taken

        def fail_once(change: Any) -> Any:
            for failure in failures:
                raise failure
            return taken(change)

        monkeypatch.setattr(store._mirror, "_taken", fail_once)
        service = a_service("web")
        await store.commit([Put(service)])
        assert service.id in store.view.services
        await store.commit([Put(a_service("other"))])
        assert len(store.view.services) == 2 and store.connected
