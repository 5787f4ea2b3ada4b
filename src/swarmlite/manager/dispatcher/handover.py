"""A manager that lost the store lets its nodes go to one that has it.

Its own member stands still, or it is cut off from the others: it can neither write what agents
report nor hear what is new, and the leader takes it for dead and judges its nodes. Agents cannot
see that: their sessions live. Where no manager has the store sessions stay: there is nowhere to go.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

import grpc.aio

from swarmlite import rpc
from swarmlite.errors import SwarmliteError, Unavailable
from swarmlite.manager.store.api import Store
from swarmlite.proto.control_pb2 import StoreHealthRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.objects_pb2 import Node

from .reports import Reports
from .sessions import Sessions

log = logging.getLogger(__name__)

LOOK_S = 1.0
ASK_S = 2.0
GRACE_S = 5.0


class Handover:
    """Whether this manager gives its sessions away; `away` while it does."""

    def __init__(
        self,
        store: Store,
        node_id: str,
        sessions: Sessions,
        reports: Reports,
        has_store: Callable[[], bool],
        channel: Callable[[str], grpc.aio.Channel],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`has_store`: whether others see in the store that this manager lives; `channel` leads to
        a manager's address. Sessions, reports and clock are the dispatcher's own.
        """
        self.away = self._tried = False
        self._until, self._clock = 0.0, clock
        self._store, self._node_id = store, node_id
        self._sessions, self._reports = sessions, reports
        self._has_store, self._channel = has_store, channel

    def check(self) -> None:
        """Raises Unavailable for a session that is to begin elsewhere."""
        if self.away:
            raise Unavailable("this manager has lost the store: another one has it")

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """End every session while another manager has the store and this one does not.

        Where none of the others answers either, it may be this one's network that is gone: its
        nodes have GRACE_S to find a manager, once, and who finds none is taken back.
        """
        others = [n for n in self._store.view.nodes.managers() if n.id != self._node_id]
        if self._has_store() or not others:
            self.away = self._tried = False
            return
        if not self.away and not await self._goes(others):
            return
        if math.isinf(self._until) and not await self._elsewhere(others):
            self._until = self._clock() + GRACE_S  # who had it has lost it as well
        if self._clock() >= self._until:
            self.away = False
            return
        for session in self._sessions:
            session.end(Unavailable("this manager has lost the store: another one has it"))

    async def _goes(self, others: list[Node]) -> bool:
        """Whether its nodes are to go from now on."""
        elsewhere = await self._elsewhere(others)
        if self._has_store() or (self._tried and not elsewhere):
            return False
        log.warning("the store is lost: nodes are to go to the other managers")
        self.away = self._tried = True
        self._until = math.inf if elsewhere else self._clock() + GRACE_S
        self._reports.forget_statuses()
        return True

    async def _elsewhere(self, others: list[Node]) -> bool:
        return any(await asyncio.gather(*(self._has_it(node) for node in others)))

    async def _has_it(self, node: Node) -> bool:
        address = node.manager_status.addr
        channel = self._channel(address)
        try:
            with rpc.translated(f"manager {address}"):
                request = StoreHealthRequest(own=True)
                answer = await ControlStub(channel).GetStoreHealth(request, timeout=ASK_S)
            return any(member.seen for member in answer.members)
        except SwarmliteError:
            return False
        finally:
            await channel.close()
