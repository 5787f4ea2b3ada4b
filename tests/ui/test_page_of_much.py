"""A thousand nodes and tasks, a log without an end, names with markup: the page stays small."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer

from swarmlite.model import task_states
from swarmlite.paths import Paths
from swarmlite.proto.control_pb2 import (
    ListNodesResponse,
    ListServicesResponse,
    ListTasksResponse,
    LogMessage,
    LogsRequest,
    LogsResponse,
    WatchResponse,
)
from swarmlite.proto.objects_pb2 import Node, Service, Task
from swarmlite.ui import cluster as room
from swarmlite.ui import lines
from swarmlite.ui import server as server_room
from swarmlite.ui.cluster import Cluster
from swarmlite.ui.server import Server
from swarmlite.ui.signing import Session, Sessions

pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey")
MARKUP = "<img src=x onerror=alert(1)>"
FIRST_VIEW_BYTES = 150_000


class Large:
    """A cluster of so many nodes, each with a task of one service, whose names are markup."""

    def __init__(self, nodes: int) -> None:
        service = Service(id="s")
        service.spec.annotations.name = MARKUP
        service.spec.replicated.replicas = nodes
        self.nodes = ListNodesResponse()
        self.tasks: list[Task] = []
        for number in range(nodes):
            node = Node(id=f"node{number:021}")
            node.description.hostname = f"host{number}{MARKUP}"
            self.nodes.nodes.append(node)
            task = Task(id=f"task{number:021}", service_id="s", slot=number + 1, node_id=node.id)
            task.service_annotations.name = MARKUP
            task.status.state = task_states.RUNNING
            task.desired_state = task_states.RUNNING
            self.tasks.append(task)
        self.services = ListServicesResponse(services=[service])
        self.asked, self.log = LogsRequest(), Endless()
        self.changes: asyncio.Queue[WatchResponse] = asyncio.Queue()
        self.looks = 0

    async def role_of(self, user_id: str) -> str:
        return "admin"

    def watch(self, request: Any) -> Any:
        return Watching(self.changes)

    async def overview(self, session: Session) -> room.Overview:
        self.looks += 1
        return room._picture(self.nodes, self.tasks, self.services)

    async def service(self, session: Session, ref: str) -> tuple[Service, list[Task]]:
        return self.services.services[0], self.tasks

    async def plots(self, session: Session, tasks: Any) -> list[Any]:
        return []

    async def call(self, session: Session, method: str, request: Any) -> Any:
        return self.nodes if method == "ListNodes" else ListTasksResponse(tasks=self.tasks[:1])

    def logs(self, session: Session, request: LogsRequest) -> Any:
        self.asked = request
        return self.log


class Watching:
    """A watch, which says first that it is in place."""

    def __init__(self, changes: asyncio.Queue[WatchResponse]) -> None:
        self._changes = changes

    async def __aiter__(self) -> AsyncIterator[WatchResponse]:
        yield WatchResponse()
        while True:
            yield await self._changes.get()

    def cancel(self) -> None:
        pass


class Endless:
    """A log that never ends, or a gigabyte of one, of lines that are long."""

    def __init__(self, lines: int | None = None, line_bytes: int = 1_000_000) -> None:
        self.lines, self.taken = lines, 0
        self.data = b"x" * line_bytes + b"\n"

    async def __aiter__(self) -> AsyncIterator[LogsResponse]:
        while self.lines is None or self.taken < self.lines:
            await asyncio.sleep(0)
            self.taken += 1
            yield LogsResponse(messages=[LogMessage(data=self.data)])

    def cancel(self) -> None:
        pass


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects shows the certificate of one."""
    monkeypatch.setattr(server_room, "_user_of", lambda _: "u")


def server_of(cluster: Large, tmp_path: Path) -> Server:
    paths = Paths(tmp_path / "state", tmp_path / "run")
    return Server(paths, cast(Cluster, cluster), Sessions(tmp_path))


async def test_a_thousand_nodes_and_tasks_are_a_small_first_view_and_their_names_never_run(
    user: None, tmp_path: Path
) -> None:
    server = server_of(Large(1000), tmp_path)
    async with TestClient(TestServer(server.app()), auto_decompress=False) as client:
        for path in ("/ui/", "/ui/service/s"):
            answer = await client.get(path, headers={"Accept-Encoding": "gzip"})
            sent = await answer.read()
            assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
            assert len(sent) < FIRST_VIEW_BYTES
            text = gzip.decompress(sent).decode()
            assert MARKUP not in text
            assert "&lt;img src=x" in text
        assert "and 800 older ones" in text
    assert MARKUP not in await server._picture()


async def test_of_a_log_without_end_the_last_lines_are_read_as_fast_as_they_are_taken(
    user: None, tmp_path: Path
) -> None:
    cluster = Large(1)
    async with TestClient(TestServer(server_of(cluster, tmp_path).app())) as client:
        answer = await client.get("/ui/logs/service/s")
        assert (await answer.content.readline()) == b"event: lines\n"
        data = (await answer.content.readline()).removeprefix(b"data: ")
        assert len(json.loads(data)[0]["text"]) == lines.MAX_LINE
        assert cluster.asked.options.tail == lines.TAIL
        answer.close()
        found = await client.get("/ui/logs/service/s?search=y")
        assert cluster.asked.options.tail == lines.SEARCHED
        found.close()


async def test_a_gigabyte_of_log_passes_in_a_few_megabytes_of_memory(
    user: None, tmp_path: Path
) -> None:
    cluster = Large(1)
    cluster.log = Endless(250, 4_000_000)
    async with TestClient(TestServer(server_of(cluster, tmp_path).app())) as client:
        tracemalloc.start()
        try:
            answer = await client.get("/ui/logs/service/s?follow=0")
            size = 0
            async for part in answer.content.iter_any():
                size += len(part)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert cluster.log.taken == 250
    assert 250 * lines.MAX_LINE < size < 300 * lines.MAX_LINE
    assert most < 50_000_000


@pytest.mark.parametrize("way", ["", "&as=text"])
async def test_who_does_not_read_a_log_has_no_more_of_it_read(
    user: None, tmp_path: Path, way: str
) -> None:
    """Once the connection takes no more, the node is not asked for more either."""
    cluster = Large(1)
    cluster.log = Endless(line_bytes=lines.MAX_LINE)
    async with TestClient(TestServer(server_of(cluster, tmp_path).app())) as client:
        answer = await client.get(f"/ui/logs/service/s?follow=0{way}")
        protocol = answer.connection.protocol if answer.connection else None
        assert protocol is not None and protocol.transport is not None
        cast(asyncio.ReadTransport, protocol.transport).pause_reading()
        before = -1
        while before != cluster.log.taken:  # what systems keep of it on the way
            before = cluster.log.taken
            assert before < 10_000
            for _ in range(500):
                await asyncio.sleep(0)
        answer.close()


async def test_a_picture_is_drawn_only_while_somebody_looks_and_the_first_one_is_fresh(
    tmp_path: Path,
) -> None:
    cluster = Large(1)
    live = server_of(cluster, tmp_path).live
    running = asyncio.create_task(live.run())
    name = cluster.nodes.nodes[0].description

    async def changed(hostname: str) -> None:
        name.hostname = hostname
        cluster.changes.put_nowait(WatchResponse())
        while not cluster.changes.empty():
            await asyncio.sleep(0)

    try:
        for look, hostname in enumerate(("one", "two"), 1):
            await changed(f"missed{hostname}")
            await changed(hostname)
            assert cluster.looks == 2 * (look - 1)
            with live.viewed() as number:
                await live.after(number)
                assert f">{hostname}</a>".encode() in live.event
                await changed(f"{hostname}more")
                with live.viewed() as second:
                    assert second == 0  # it gets what is shown already
                    await live.after(live.number)
                assert f"{hostname}more".encode() in live.event
            assert cluster.looks == 2 * look
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
