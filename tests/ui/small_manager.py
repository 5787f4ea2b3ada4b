"""The page before a manager's real API over a store in memory: nothing runs, all is said."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestClient, TestServer

from swarmlite.ids import new_id
from swarmlite.manager.controlapi import ControlService
from swarmlite.manager.server import serving
from swarmlite.manager.store.api import Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.paths import Paths
from swarmlite.proto.control_pb2 import LogsResponse
from swarmlite.proto.control_pb2_grpc import add_ControlServicer_to_server
from swarmlite.proto.objects_pb2 import Cluster, Node
from swarmlite.proto.types_pb2 import MANAGER
from swarmlite.ui.cluster import Cluster as AskedCluster
from swarmlite.ui.server import Server
from swarmlite.ui.signing import COOKIE, Session, Sessions


class _NoLogs:
    async def logs(self, request: Any) -> AsyncIterator[LogsResponse]:
        return
        yield


class SmallPage:
    """A browser's requests, of whoever `role` is."""

    def __init__(
        self, client: TestClient[Any, Any], sessions: Sessions, store: MemoryStore, server: Server
    ) -> None:
        self._client, self._sessions, self.store, self.server = client, sessions, store, server
        self._cookies: dict[str, str] = {}
        self._kept: dict[str, Session] = {}

    def session(self, role: str) -> Session:
        if role not in self._cookies:
            self._kept[role] = Session(role, role)
            self._cookies[role] = self._sessions.keep(self._kept[role])
        return self._kept[role]

    async def get(self, role: str, path: str) -> tuple[int, str]:
        self.session(role)
        async with self._client.get(f"/ui{path}", headers=self._headers(role)) as answer:
            return answer.status, await answer.text()

    async def post(self, role: str, path: str, fields: dict[str, Any]) -> tuple[int, str]:
        """A form with its token; bytes are sent as a file."""
        form = aiohttp.FormData()
        for name, value in {"token": self.session(role).token, **fields}.items():
            file_name = "stack.yml" if isinstance(value, bytes) else None
            sent = io.BytesIO(value) if isinstance(value, bytes) else value
            form.add_field(name, sent, filename=file_name)
        async with self._client.post(
            f"/ui{path}", data=form(), headers=self._headers(role), allow_redirects=False
        ) as answer:
            return answer.status, await answer.text()

    async def shell(self, role: str, task_id: str) -> Any:
        """The last that a shell's socket says."""
        token = self.session(role).token
        origin = f"https://{self._client.host}:{self._client.port}"
        said = None
        async with self._client.ws_connect(
            f"/ui/task/{task_id}/shell", headers=self._headers(role), origin=origin
        ) as socket:
            await socket.send_json({"token": token, "command": "sh"})
            async for message in socket:
                if message.type == aiohttp.WSMsgType.TEXT:
                    said = message.json()
        return said

    def _headers(self, role: str) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={self._cookies[role]}"}


@asynccontextmanager
async def small_page(
    folder: Path, tunnels: Any = None, health: Any = None, logs: Any = None
) -> AsyncIterator[SmallPage]:
    """With a manager that has one node, itself; `tunnels` serves those that are asked for, `health`
    is the store's, `logs` has the tasks'.
    """
    paths = Paths(folder / "state", folder / "run")
    paths.run_dir.mkdir()
    store, node = MemoryStore(), Node(id=new_id(), role=MANAGER)
    node.description.hostname, node.spec.desired_role = "manager1", MANAGER
    cluster = Cluster(id="cluster")
    cluster.spec.annotations.name = "default"
    store.commit_now([Put(node), Put(cluster)])
    control = ControlService(store, node.id, logs or _NoLogs(), tunnels=tunnels, health=health)
    sessions = Sessions(folder)
    asked = AskedCluster(paths)
    server = Server(paths, asked, sessions)
    async with (
        serving(
            [lambda made: add_ControlServicer_to_server(control, made)],
            lambda: store.view,
            socket_path=paths.manager_socket, listen_addr=None, certificates_dir=folder,
        ),
        TestClient(TestServer(server.app())) as client,
    ):  # fmt: skip
        yield SmallPage(client, sessions, store, server)
    await asked.close()


def stamp_of(text: str) -> str:
    found = re.search(r'name="stamp" value="([^"]+)"', text)
    assert found is not None, text
    return found[1]
