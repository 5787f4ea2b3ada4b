"""Tells every open page that the cluster changed: one watch for all, and one picture for all.

Readers and admins see the same overview, so it is rendered once a change; a burst is one picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import grpc

from swarmlite.errors import SwarmliteError
from swarmlite.proto.control_pb2 import WatchRequest
from swarmlite.ui.cluster import Cluster
from swarmlite.ui.events import Events

log = logging.getLogger(__name__)

SETTLE_S = 0.2
AGAIN_S = 1.0
LOOK_S = 10.0
"""Also without a change: whether the managers still have a quorum."""
KINDS = ("node", "service", "task")


class Live:
    """`run` follows the cluster; pages wait for the next number."""

    def __init__(self, cluster: Cluster, picture: Callable[[], Awaitable[str]]) -> None:
        """`picture` renders the overview."""
        self._cluster, self._picture = cluster, picture
        self._changed = asyncio.Event()
        self._told = asyncio.Condition()
        self.events = Events()
        self.number = 0
        self.shown = ""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._draw())

    async def after(self, number: int) -> None:
        """Return once there is a picture that is newer than this one."""
        async with self._told:
            await self._told.wait_for(lambda: self.number > number)

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(grpc.RpcError):
                async for response in self._cluster.watch(WatchRequest(kinds=KINDS)):
                    for event in response.events:
                        self.events.happened(event)
                    self._changed.set()
            self._changed.set()  # what the page then says is why
            await asyncio.sleep(AGAIN_S)

    async def _draw(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            try:
                shown = await self._picture()
            except SwarmliteError as error:
                log.warning("the overview cannot be drawn error=%s", error)
                continue
            if shown != self.shown:
                async with self._told:
                    self.shown, self.number = shown, self.number + 1
                    self._told.notify_all()
