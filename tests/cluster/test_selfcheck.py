"""Events that etcd's watch loses, delays, repeats or turns round: the mirror is right again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aetcd import rpc as etcd_rpc
from etcd_world import KEYS
from test_store import a_service, a_task, changed

from swarmlite.errors import Unavailable
from swarmlite.manager.store import selfcheck
from swarmlite.manager.store.api import Action, Delete, Event, Put, type_of_kind
from swarmlite.manager.store.etcd import EtcdStore, open_store
from swarmlite.manager.store.etcd_client import EtcdClient
from swarmlite.manager.store.etcd_mirror import key_of
from swarmlite.manager.store.selfcheck import SelfCheck
from swarmlite.proto.objects_pb2 import Cluster, Config, Service

Batch = Sequence[etcd_rpc.Event]
CHECK_S = 0.2


class Faulty(EtcdClient):
    """What a watch brings goes through `fault` first; history is as etcd has it."""

    fault: Callable[[list[etcd_rpc.Event]], list[etcd_rpc.Event]] | None = None
    silent = False
    watches = 0
    _reading_history = False

    async def watch(
        self, key: bytes, revision: int, range_end: bytes = b"", *, fragment: bool = False
    ) -> AsyncIterator[Batch]:
        self.watches += 1
        stuck = self.silent
        async for events in super().watch(key, revision, range_end, fragment=fragment):
            if stuck and self.silent:
                continue  # of this watch nothing comes any more
            yield self.fault(list(events)) if self.fault and events else events

    def history(self, *arguments: Any) -> Any:
        return EtcdClient(self._endpoints, self._certificates_dir).history(*arguments)


@pytest.fixture
async def faulty(etcd: Any, client: EtcdClient) -> AsyncIterator[Faulty]:
    """On a clean key space."""
    made = Faulty([etcd.endpoint], etcd.certificates_dir)
    yield made
    await made.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def same(mine: EtcdStore, truth: EtcdStore) -> bool:
    """Whether both have the same objects at the same versions."""
    return all(
        {i: o.meta.version.index for i, o in mine.view.table(kind).items()}
        == {i: o.meta.version.index for i, o in truth.view.table(kind).items()}
        for kind in ("service", "task")
    )


class Seen:
    """What a subscriber makes of the events: it has to come to the same objects."""

    def __init__(self) -> None:
        self.objects: dict[str, int] = {}

    def take(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.action is Action.REMOVE:
                self.objects.pop(event.obj.id)
            else:
                assert (event.action is Action.UPDATE) == (event.obj.id in self.objects)
                self.objects[event.obj.id] = event.obj.meta.version.index


async def write_a_lot(truth: EtcdStore, name: str) -> None:
    """Objects come, change and go."""
    for number in range(4):
        services = [a_service(f"{name}{number}-{n}") for n in range(4)]
        await truth.commit([Put(service) for service in services])
        for service in services:
            stored = changed(truth.view.services.get(service.id))
            stored.spec.annotations.labels["n"] = "1"
            await truth.commit([Put(stored)])
        await truth.commit([Delete(truth.view.services.get(services[0].id))])  # type: ignore[arg-type]
        await truth.commit([Put(a_task(number))])


def lose_updates(events: list[etcd_rpc.Event]) -> list[etcd_rpc.Event]:
    return [e for e in events if e.kv.version <= 1 or b"/checks/" in e.kv.key]


def lose_removals(events: list[etcd_rpc.Event]) -> list[etcd_rpc.Event]:
    return [e for e in events if e.type != 1]


def lose_all(events: list[etcd_rpc.Event]) -> list[etcd_rpc.Event]:
    return [e for e in events if b"/checks/" in e.kv.key]


def lose_everything(events: list[etcd_rpc.Event]) -> list[etcd_rpc.Event]:
    return []


def repeat(events: list[etcd_rpc.Event]) -> list[etcd_rpc.Event]:
    return [*events, *events]


class Reorder:
    """An event comes after the two that follow it."""

    def __init__(self) -> None:
        self.held: list[etcd_rpc.Event] = []

    def __call__(self, events: list[etcd_rpc.Event]) -> list[etcd_rpc.Event]:
        self.held += events
        out = []
        while len(self.held) > 2:
            out.append(self.held.pop(2))
            out.append(self.held.pop(0))
        return out


FAULTS = {
    "updates are lost": lambda: lose_updates,
    "removals are lost": lambda: lose_removals,
    "all but the mark is lost": lambda: lose_all,
    "everything is lost": lambda: lose_everything,
    "all comes twice": lambda: repeat,
    "all comes in another order": Reorder,
}


@pytest.mark.parametrize("name", FAULTS)
async def test_whatever_the_watch_does_the_view_and_its_readers_come_right(
    faulty: Faulty, client: EtcdClient, name: str
) -> None:
    async with (
        open_store(client, KEYS) as truth,
        open_store(faulty, KEYS, checked_as="m1", check_s=CHECK_S, late_s=CHECK_S) as mine,
        mine.subscribe("service", "task") as events,
    ):
        seen = Seen()

        def right() -> bool:
            seen.take(events.drain())
            return same(mine, truth) and seen.objects == {
                i: o.meta.version.index
                for kind in ("service", "task")
                for i, o in mine.view.table(kind).items()
            }

        faulty.fault = FAULTS[name]()  # type: ignore[no-untyped-call]
        await write_a_lot(truth, "a")
        await until(right)
        # And what comes late then takes nothing away.
        faulty.fault = None
        await write_a_lot(truth, "b")
        await until(right)


async def test_a_watch_that_falls_silent_is_begun_again_and_writers_do_not_wait_for_it(
    faulty: Faulty, client: EtcdClient
) -> None:
    faulty.silent = True
    async with (
        open_store(client, KEYS) as truth,
        open_store(faulty, KEYS, checked_as="m1", check_s=CHECK_S, late_s=CHECK_S) as mine,
    ):
        await truth.commit([Put(a_service("web"))])
        await until(lambda: same(mine, truth))
        service = a_service("other")
        await mine.commit([Put(service)])  # answered once the own view has it
        assert service.id in mine.view.services
        faulty.silent = False
        begun = faulty.watches
        await until(lambda: faulty.watches > begun)
        await until(lambda: mine.connected)


async def test_what_was_removed_while_history_was_read_does_not_come_back(
    client: EtcdClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """History ends at the mark; the watch has brought the removal that followed it."""
    async with open_store(client, KEYS) as mine, mine.subscribe("service") as events:
        check = SelfCheck(client, mine._mirror, "m1")
        await check.check()
        service = a_service("web")
        await mine.commit([Put(service)])

        async def removed_meanwhile(*arguments: Any) -> AsyncIterator[Batch]:
            await mine.commit([Delete(mine.view.services.get(service.id))])  # type: ignore[arg-type]
            async for batch in EtcdClient.history(client, *arguments):
                yield batch

        monkeypatch.setattr(client, "history", removed_meanwhile)
        assert await check.check() == 0
        assert service.id not in mine.view.services
        assert [event.action for event in events.drain()] == [Action.CREATE, Action.REMOVE]


async def test_what_is_lost_without_a_trace_is_seen_by_its_number(
    faulty: Faulty, client: EtcdClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """History does not tell it either: etcd's count of the objects does."""
    async with (
        open_store(client, KEYS) as truth,
        open_store(faulty, KEYS, checked_as="m1", check_s=CHECK_S, late_s=CHECK_S) as mine,
    ):
        await truth.commit([Put(a_service("kept"))])
        await until(lambda: same(mine, truth))
        lost = next(iter(mine.view.services))
        mine.view.services.pop(lost.id)
        await until(lambda: same(mine, truth))
        extra = Service(id="never-was")
        mine.view.services.put(extra)
        await until(lambda: same(mine, truth))
        # Nothing to do: nothing is listed again and again.
        listed = 0

        async def pages(*arguments: Any) -> Any:
            nonlocal listed
            listed += 1
            async for page in EtcdClient.pages(faulty, *arguments):
                yield page

        monkeypatch.setattr(faulty, "pages", pages)
        checks = faulty_marks(mine)
        await until(lambda: faulty_marks(mine) > checks)
        rounds = faulty_marks(mine)
        await until(lambda: faulty_marks(mine) > rounds)
        assert listed == 0


def faulty_marks(store: EtcdStore) -> int:
    """The revision of the last mark that the watch brought."""
    return store._mirror.marked[0]


async def test_values_that_nobody_can_read_are_counted(client: EtcdClient) -> None:
    """Else each check would list everything again."""
    async with open_store(client, KEYS, checked_as="m1", check_s=CHECK_S) as mine:
        await client.put(key_of("service", "broken"), b"\xff\xff\xff")
        before = faulty_marks(mine)
        await until(lambda: faulty_marks(mine) > before)
        assert mine._mirror.marked[1]["service"] == 1
        assert len(mine.view.services) == 0


async def test_a_burst_of_more_than_a_message_takes_is_checked(client: EtcdClient) -> None:
    """etcd sends a thousand revisions of its history at once; 64 MiB is what we take."""
    async with open_store(client, KEYS) as mine:
        check = SelfCheck(client, mine._mirror, "m1")
        await check.check()
        for number in range(56):
            config = Config(id=f"config{number}")
            config.spec.data = bytes(1_300_000)
            await mine.commit([Put(config)])
        assert await check.check() == 0
        assert mine._mirror.checked >= mine.view.revision - 1


async def test_a_history_that_does_not_come_in_time_is_not_asked_for_again(
    client: EtcdClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next round would have all of it to read once more: a listing takes its place."""
    async with open_store(client, KEYS) as mine:
        check = SelfCheck(client, mine._mirror, "m1")
        await check.check()
        await mine.commit([Put(Config(id="one"))])
        before = mine._mirror.checked
        monkeypatch.setattr(client, "history", _late)
        with pytest.raises(Unavailable):
            await check.check()
        await until(lambda: mine._mirror.checked > before)


async def test_objects_are_counted_for_a_small_share_of_the_time_only(
    client: EtcdClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """etcd 3.4 walks every key to count them; what changed is read again in every round."""
    monkeypatch.setattr(selfcheck, "COUNTING_SHARE", 1e-9)
    async with open_store(client, KEYS) as mine:
        check = SelfCheck(client, mine._mirror, "m1")
        assert set((await check._mark())[1]) == set(type_of_kind)
        assert (await check._mark())[1] == {}
        assert await check.check() == 0


async def test_an_etcd_that_has_gone_back_takes_nothing_away(
    etcd: Any, client: EtcdClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Its data are lost, or older ones were brought back below managers that run."""
    async with open_store(client, KEYS, checked_as="m1", check_s=CHECK_S, late_s=CHECK_S) as mine:
        services = [a_service(f"web{number}") for number in range(9)]
        await mine.commit([Put(service) for service in services])
        for _ in range(500):  # more than it will have come to by the time that it is looked at
            await client.put(key_of("guards", "any"), b"")
        etcd.stop()
        shutil.rmtree(Path(etcd.command[etcd.command.index("--data-dir") + 1]))
        etcd.start()
        await until(lambda: "etcd has gone back from revision" in caplog.text)
        assert {service.id for service in services} == {
            service.id for service in mine.view.services
        }
        assert not mine.connected
        # Nor once it has come further than it was.
        for _ in range(600):
            await client.put(key_of("guards", "any"), b"")
        with pytest.raises(Unavailable, match="etcd has gone back"):
            await mine.commit([Put(a_service("new"))])
        assert {service.id for service in services} == {
            service.id for service in mine.view.services
        }


class Stopped(EtcdClient):
    """Asks nothing while the gate is closed."""

    def __init__(self, *arguments: Any) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        super().__init__(*arguments)

    async def _call(self, *arguments: Any, **options: Any) -> Any:
        await self.gate.wait()
        return await super()._call(*arguments, **options)

    async def watch(self, *arguments: Any, **options: Any) -> AsyncIterator[Batch]:
        await self.gate.wait()
        async for events in super().watch(*arguments, **options):
            yield events


@pytest.mark.parametrize("found", ["emptied", "older", "older and compacted"])
async def test_an_etcd_that_lost_its_data_and_was_written_further_takes_nothing_away(
    etcd: Any, client: EtcdClient, found: str, tmp_path: Path
) -> None:
    """It is at a later revision than before when a manager sees it again."""
    data = Path(etcd.command[etcd.command.index("--data-dir") + 1])
    watching = Stopped([etcd.endpoint], etcd.certificates_dir)
    async with open_store(watching, KEYS) as mine:
        await mine.commit([Put(Cluster(id="cluster")), Put(a_service("web"))])
        etcd.stop(kill=False)
        shutil.copytree(data, tmp_path / "older")
        etcd.start()
        service = changed(mine.view.services.get(next(iter(mine.view.services)).id))
        service.spec.annotations.labels["a"] = "b"
        await mine.commit([Put(service), Put(a_service("db"))])
        before = {s.id: s.meta.version.index for s in mine.view.services}
        watching.gate.clear()
        etcd.stop(kill=False)
        shutil.rmtree(data)
        if found != "emptied":
            shutil.copytree(tmp_path / "older", data)
        etcd.start()
        while (await client.get(b"/any"))[1] < mine.view.revision + 10:
            await client.put(b"/any", b"")
        if found == "older and compacted":
            await client.compact((await client.get(b"/any"))[1])
        watching.gate.set()
        await until(lambda: mine._mirror.gone_back)
        with pytest.raises(Unavailable, match="etcd is not the one that this manager followed"):
            await mine.commit([Put(a_service("new"))])
        assert before == {s.id: s.meta.version.index for s in mine.view.services}
    await watching.close()


async def _late(*arguments: Any) -> AsyncIterator[Batch]:
    raise Unavailable("etcd does not tell what was written")
    yield []
