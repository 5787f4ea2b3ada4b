"""What nobody foresaw, and no page falls over: other versions' words, ends at any moment."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import grpc.aio
import pytest
from small_manager import SmallPage, small_page

from swarmlite import rpc
from swarmlite.errors import Unavailable
from swarmlite.ids import new_id
from swarmlite.manager.store.api import Put
from swarmlite.model import enums, task_states
from swarmlite.paths import Paths
from swarmlite.proto.containers_pb2 import Health
from swarmlite.proto.containers_pb2_grpc import (
    ContainersServicer,
    ContainersStub,
    add_ContainersServicer_to_server,
)
from swarmlite.proto.control_pb2 import TunnelTo
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.ui import reaching
from swarmlite.ui import tasks as task_room
from swarmlite.ui.cluster import Cluster
from swarmlite.ui.reaching import Reach
from swarmlite.ui.signing import Session
from swarmlite.ui.tasks import _up

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey"),
]


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[SmallPage]:
    async with small_page(tmp_path) as made:
        yield made


async def test_a_number_without_a_name_is_shown_as_it_is(page: SmallPage) -> None:
    node = cast(Node, next(iter(page.store.view.nodes)))
    node.status.state = node.spec.availability = 71  # type: ignore[assignment]
    task = Task(id=new_id(), node_id=node.id)
    task.status.state = 72  # type: ignore[assignment]
    page.store.commit_now([Put(node), Put(task)])
    status, text = await page.get("reader", f"/node/{node.id}")
    assert (status, "71" in text, "72" in text) == (200, True, True)
    assert "71" in await page.server._picture()
    assert enums.word(Health.Status, 73) == "73"
    assert task_states.name(task_states.RUNNING) == "running"


async def test_what_was_there_before_is_no_event_and_a_heartbeat_is_none(page: SmallPage) -> None:
    node = cast(Node, next(iter(page.store.view.nodes)))
    events = page.server.live.events
    running = asyncio.create_task(page.server.live.run())

    async def told() -> None:
        """Until what is written now is told."""
        made: list[Task] = []
        while not any(events.of(task.id) for task in made):
            made.append(Task(id=new_id()))
            page.store.commit_now([Put(made[-1])])
            await asyncio.sleep(0.05)

    try:
        await told()
        for message in ("a heartbeat", "another one"):
            node = cast(Node, page.store.view.nodes.get(node.id))
            node.status.message = message
            page.store.commit_now([Put(node)])
        await told()
        assert events.of(node.id) == []
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_typed_while_the_shell_ends_does_not_hide_how_it_ended() -> None:
    """Each write fails as that of a call that is over; the page is read until it is closed."""
    read = []

    async def typed() -> AsyncIterator[Any]:
        for kind, data in ((aiohttp.WSMsgType.BINARY, b"x"), (aiohttp.WSMsgType.TEXT, "{}")):
            read.append(kind)
            yield SimpleNamespace(type=kind, data=data)

    async def fails(*_: Any, **__: Any) -> None:
        raise asyncio.InvalidStateError("RPC already finished.")

    call = SimpleNamespace(write=fails)
    await _up(call, cast(Any, typed()), SimpleNamespace(ResizeExec=fails), "e")
    assert len(read) == 2


async def test_a_node_that_falls_silent_as_a_shell_begins_is_not_waited_for_without_end(
    page: SmallPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tunnel stands, and nothing comes through it."""
    asked = asyncio.Event()

    class Silent(ContainersServicer):  # type: ignore[misc]
        async def CreateExec(self, *_: Any) -> Any:
            asked.set()
            await asyncio.Event().wait()

    server = grpc.aio.server()
    add_ContainersServicer_to_server(Silent(), server)
    path = tmp_path / "silent"
    server.add_insecure_port(f"unix:{path}")
    await server.start()

    @asynccontextmanager
    async def stands(*_: Any) -> AsyncIterator[ContainersStub]:
        async with rpc.unix_channel(path) as channel:
            yield ContainersStub(channel)

    monkeypatch.setattr(Reach, "containers", stands)
    monkeypatch.setattr(task_room, "CALL_S", 0.5)
    task = Task(id=new_id())
    page.store.commit_now([Put(task)])
    try:
        said = await page.shell("operator", task.id)
    finally:
        await server.stop(0)
    assert asked.is_set()
    assert said == {"error": "the task's node did not answer in time"}


MANAGER = """
import asyncio, sys
import grpc.aio
from swarmlite.proto.control_pb2 import ListNodesResponse, ListServicesResponse, ListTasksResponse
from swarmlite.proto.control_pb2_grpc import ControlServicer, add_ControlServicer_to_server

class Manager(ControlServicer):
    async def ListNodes(self, *_):
        return ListNodesResponse(stale=True)
    async def ListTasks(self, *_):
        return ListTasksResponse()
    async def ListServices(self, *_):
        return ListServicesResponse()

async def main():
    server = grpc.aio.server()
    add_ControlServicer_to_server(Manager(), server)
    server.add_insecure_port(f"unix:{sys.argv[1]}")
    await server.start()
    print("serves", flush=True)
    await server.wait_for_termination()

asyncio.run(main())
"""


async def test_a_manager_without_a_processor_for_seconds_is_asked_all_the_same(
    tmp_path: Path,
) -> None:
    """Before it was ever connected to, too: a host that is busy is shown late, and not as gone."""
    paths = Paths(tmp_path / "state", tmp_path / "run")
    paths.run_dir.mkdir()
    manager = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MANAGER, paths.manager_socket, stdout=asyncio.subprocess.PIPE
    )
    assert manager.stdout is not None
    cluster = Cluster(paths)
    try:
        assert await manager.stdout.readline() == b"serves\n"
        manager.send_signal(signal.SIGSTOP)
        asked = asyncio.ensure_future(cluster.overview(Session("reader", "r")))
        # As long as a channel of the usual kind goes on trying to connect, and more.
        ended, _ = await asyncio.wait((asked,), timeout=2.5)
        manager.send_signal(signal.SIGCONT)
        assert not ended
        assert (await asked).stale
    finally:
        manager.kill()
        await manager.communicate()
        await cluster.close()


async def test_a_tunnel_that_does_not_come_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "CONNECT_S", 0.01)
    ended = []

    async def taken(_: Any) -> None:
        return

    call = SimpleNamespace(
        write=taken, read=asyncio.Event().wait, cancel=lambda: ended.append(True)
    )
    cluster = cast(Cluster, SimpleNamespace(tunnel=lambda _: call))
    with pytest.raises(Unavailable, match="does not answer"):
        async with Reach(cluster, tmp_path).containers(Session("admin", "a"), "t", TunnelTo.READ):
            raise AssertionError("it stands")
    assert ended == [True]
