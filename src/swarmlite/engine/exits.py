"""The supervisor as the agent sees it: one connection, made again when it breaks, and the exits.

A supervisor that was started again has lost its containers: whoever waits for one of them hears it
as an exit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmlite.errors import NotFound, ResourceExhausted, Unavailable
from swarmlite.runtime.client import State, Supervisor

log = logging.getLogger(__name__)

RETRY_S = 0.1
LOST_CODE = 137
LOST = "task: the container is gone: the node or its supervisor was started again"


@dataclass(frozen=True)
class Exit:
    """The end of a container's first process; `code` is 128 + signal when it was killed."""

    code: int
    oom_killed: bool = False
    lost: str = ""
    finished_ns: int = 0
    """Since the epoch; 0 when that is not known."""

    def error(self) -> str:
        """The error of a task that ended like this by itself; empty for a good end."""
        if self.lost:
            return self.lost
        if self.code == 0:
            return ""
        cause = ": killed, out of memory" if self.oom_killed else ""
        return f"task: non-zero exit ({self.code}){cause}"


class SupervisorLink:
    """Keeps a connection to the supervisor and tells each container's end to who waits for it."""

    def __init__(self, socket_path: Path) -> None:
        """Nothing is connected before `connect`."""
        self._socket_path = socket_path
        self._client: Supervisor | None = None
        self._waiters: dict[str, asyncio.Future[Exit]] = {}
        self.on_oom: Callable[[str], None] = lambda _: None
        self.came_back = asyncio.Event()
        """Set when a supervisor answers after one had gone; for whoever clears it."""

    @property
    def client(self) -> Supervisor:
        """The connection. Raises Unavailable while there is none."""
        if self._client is None:
            raise Unavailable("the supervisor of this node's containers does not answer")
        return self._client

    async def connect(self, deadline_s: float) -> None:
        """The first connection. Raises Unavailable when nobody listens until the deadline."""
        deadline = time.monotonic() + deadline_s
        while True:
            try:
                self._client = await Supervisor.connect(self._socket_path)
                return
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        """End the connection; containers run on."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def expect(self, container_id: str) -> asyncio.Future[Exit]:
        """The end of a container that is about to be created, or that runs; ask before creating."""
        future = self._waiters.get(container_id)
        if future is None:
            future = self._waiters[container_id] = asyncio.get_running_loop().create_future()
        return future

    def forget(self, container_id: str) -> None:
        """Nobody waits for this container any longer."""
        future = self._waiters.pop(container_id, None)
        if future is not None:
            future.cancel()

    async def run(self) -> None:
        """Hears of exits, and connects again when the supervisor goes; ends by cancellation."""
        while True:
            try:
                self.client.on_oom = self.on_oom
                async for state in self.client.exits():
                    self._exited(state)
            except Unavailable as error:
                log.warning("supervisor lost error=%s", error)
            self._client = None
            await self._reconnect()

    async def _reconnect(self) -> None:
        while self._client is None:
            await asyncio.sleep(RETRY_S)
            try:
                client = await Supervisor.connect(self._socket_path)
                present = {state.id for state in await client.list()}
            except Unavailable:
                continue
            self._client = client
            self.came_back.set()
            log.info("supervisor connected containers=%d", len(present))
            for container_id in set(self._waiters) - present:
                self._resolve(container_id, Exit(LOST_CODE, lost=LOST))

    def _exited(self, state: State) -> None:
        if state.status == "stopped":
            self._resolve(state.id, exit_of(state))

    def _resolve(self, container_id: str, end: Exit) -> None:
        future = self._waiters.get(container_id)
        if future is not None and not future.done():
            future.set_result(end)

    # what NodeNetwork wants of a store of descriptors
    async def keep_fds(self, name: str, fds: Sequence[int]) -> None:
        """Hold duplicates of `fds` under `name`, replacing what was there."""
        await self.client.keep_fds(name, fds)

    async def kept_fds(self, name: str) -> list[int]:
        """Duplicates of what is held, the caller's to close; empty when nothing is, or no room."""
        try:
            return await self.client.kept_fds(name)
        except (NotFound, ResourceExhausted):
            return []

    async def drop_fds(self, name: str) -> None:
        """Close what is held; nothing held is no error."""
        await self.client.drop_fds(name)


def exit_of(state: State) -> Exit:
    """The end that a stopped container came to."""
    code = 255 if state.exit_code is None else state.exit_code
    lost = f"task: {state.error}" if state.error else ""
    return Exit(code, state.oom_killed, lost, round(state.finished_at * 1e9))
