"""Tells every open page that the cluster changed: one watch for all, and one picture for all.

Readers and admins see the same overview, so it is rendered once a change, and only while somebody
looks; a burst is one picture, and where changes do not end a tenth of a core is spent on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import grpc

from swarmlite.errors import SwarmliteError
from swarmlite.proto.control_pb2 import WatchRequest, WatchResponse
from swarmlite.ui.cluster import Cluster
from swarmlite.ui.events import Events
from swarmlite.ui.signing import Session

log = logging.getLogger(__name__)

SETTLE_S = 0.2
AGAIN_S = 1.0
REST = 9.0
"""How many times as long as a picture took of the processor it is until the next one."""
LOOK_S = 10.0
"""Also without a change: whether the managers still have a quorum."""
KINDS = ("node", "service", "task")
LOOKING = Session("reader", "live")


class Live:
    """`run` follows the cluster; pages wait for the next number."""

    def __init__(self, cluster: Cluster, picture: Callable[[], Awaitable[str]]) -> None:
        """`picture` renders the overview."""
        self._cluster, self._picture = cluster, picture
        self._changed = asyncio.Event()
        self._told = asyncio.Condition()
        self._looked_at = asyncio.Event()
        self._viewers = 0
        self.events = Events()
        self.number = 0
        self.shown = ""
        self.event = b""
        """The picture, as every open page is sent it."""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._draw())

    @contextlib.contextmanager
    def viewed(self) -> Iterator[int]:
        """While a page is open: the number of the picture after which it waits for its first."""
        self._viewers += 1
        first = self._viewers == 1
        if first:
            self.shown = ""  # whatever comes is news
            self._changed.set()
            self._looked_at.set()
        try:
            yield self.number if first else 0
        finally:
            self._viewers -= 1
            if not self._viewers:
                self._looked_at.clear()

    async def after(self, number: int) -> None:
        """Return once there is a picture that is newer than this one."""
        async with self._told:
            await self._told.wait_for(lambda: self.number > number)

    async def _watch(self) -> None:
        while True:
            call = self._cluster.watch(WatchRequest(kinds=KINDS))
            try:
                with contextlib.suppress(grpc.RpcError, SwarmliteError):
                    await self._followed(aiter(call))
            finally:
                call.cancel()
            self._changed.set()  # what the page then says is why
            await asyncio.sleep(AGAIN_S)

    async def _followed(self, watching: AsyncIterator[WatchResponse]) -> None:
        await anext(watching, None)  # the watch is in place
        self._changed.set()
        async for response in watching:
            for event in response.events:
                self.events.happened(event)
            self._changed.set()

    async def _draw(self) -> None:
        cost_s = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._changed.wait()
            await self._looked_at.wait()
            await asyncio.sleep(max(SETTLE_S, cost_s * REST))
            self._changed.clear()
            began_s = time.process_time()
            try:
                shown = await self._picture()
            except SwarmliteError as error:
                log.warning("the overview cannot be drawn error=%s", error)
                continue
            if shown != self.shown:
                async with self._told:
                    self.shown, self.number = shown, self.number + 1
                    self.event = f"event: picture\ndata: {json.dumps(shown)}\n\n".encode()
                    self._told.notify_all()
            cost_s = time.process_time() - began_s
