"""Who is gone: the nodes whose deadline has passed, and whose judge this manager is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from swarmlite.errors import Unavailable
from swarmlite.manager.store.api import Store
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import ManagerStatus, NodeStatus

from . import hosts, silence
from .liveness import Liveness
from .reports import Reports
from .sessions import Sessions

log = logging.getLogger(__name__)

CHECK_S = 0.25
ASK_S = 1.0
STALL_S = 2.0
ADOPT_S = 5.0


class NodeJudge:
    """The nodes that talk to this manager, and for a leader those that talk to none.

    `is_leader` says whether this manager leads; `clock` counts seconds for deadlines; `reported` is
    called when something was added to `reports`.
    """

    def __init__(
        self,
        store: Store,
        node_id: str,
        sessions: Sessions,
        liveness: Liveness,
        reports: Reports,
        *,
        is_leader: Callable[[], bool],
        clock: Callable[[], float],
        reported: Callable[[], None],
    ) -> None:
        """Sessions, liveness and reports are the dispatcher's own."""
        self._store, self._node_id = store, node_id
        self._sessions, self._liveness, self._reports = sessions, liveness, reports
        self._is_leader, self._clock, self._reported = is_leader, clock, reported
        self._silence = silence.Silence(liveness, sessions, node_id, clock)
        self._led = False
        self._again = False
        self.away: Callable[[], bool] = lambda: False
        """Whether this manager gives its nodes away, and so judges none."""
        self.silent: set[str] = set()
        """Managers that answered while this one ran, and no longer do."""

    def node_changed(self, node: Node, old: object) -> None:
        """A manager that no longer answers leaves its nodes to another judge."""
        if _fell_silent(node, old):
            self.silent.add(node.id)
            self._again = True
        elif node.manager_status.reachability != ManagerStatus.UNREACHABLE:
            self.silent.discard(node.id)

    async def run(self) -> None:
        """Judge until cancelled."""
        adopted_at, listened_at = float("-inf"), time.monotonic()
        while True:
            now = self._clock()
            if self.away():
                self._liveness.forget_all()
                adopted_at, listened_at = float("-inf"), time.monotonic()
                await asyncio.sleep(CHECK_S)
                continue
            if now - adopted_at >= ADOPT_S or self._led != self._is_leader() or self._again:
                self._again = False
                self.adopt(now)
                adopted_at = now
            self._own_stall(time.monotonic() - listened_at)
            listened_at = time.monotonic()
            self.check_nodes(now)
            await asyncio.sleep(CHECK_S)

    async def watch_silence(self) -> None:
        """Give up nodes whose hosts are silent too, until cancelled."""
        while True:
            await asyncio.sleep(silence.LOOK_S)
            await self.look_at_silence()

    async def look_at_silence(self) -> None:
        """See silence.py."""
        for node_id in await self._silence.look(self._store.view):
            log.warning("host silent node=%s", node_id)
            self._liveness.give_up(node_id, self._clock())

    async def ask_forever(self) -> None:
        """Ask the hosts of nodes that are not heard, until cancelled."""
        while True:
            await self.ask_hosts()
            await asyncio.sleep(ASK_S)

    async def ask_hosts(self) -> None:
        """Nodes whose stream ended and whose hosts live have longer to come back."""
        nodes = self._store.view.nodes
        unheard = [
            node
            for i in self._liveness.unheard(self._clock())
            if (node := nodes.get(i)) is not None
        ]
        if unheard:
            for node_id in await hosts.alive((n.id, n.status.addr) for n in unheard):
                self._liveness.host_answers(node_id)

    def _own_stall(self, elapsed_s: float) -> None:
        """A manager that was frozen or busy must not take its own silence for its nodes'."""
        if elapsed_s > STALL_S:
            log.warning("manager stalled seconds=%.1f", elapsed_s)
            self._liveness.postpone(elapsed_s)

    def adopt(self, now: float) -> None:
        """Give a deadline to nodes that nobody hears of, and that are ours to judge."""
        self._led = self._is_leader()
        for node in self._store.view.nodes:
            if self._sessions.get(node.id) is not None:
                continue
            if node.status.state != NodeStatus.DOWN and self._ours(node):
                soon = node.status.manager_id in self.silent
                self._liveness.expect([node.id], now, soon=soon)
            else:
                self._liveness.forget(node.id)

    def _ours(self, node: Node) -> bool:
        """Whether this manager judges the node: it held its session, or leads and none does."""
        holder_id = node.status.manager_id
        if holder_id == self._node_id:
            return True
        holder = self._store.view.nodes.get(holder_id)
        # A manager's own agent mostly has its session there: only its status never turns DOWN.
        answers = (
            holder is not None
            and holder.status.state == NodeStatus.READY
            and holder.manager_status.reachability != ManagerStatus.UNREACHABLE
        )
        return self._led and not answers

    def check_nodes(self, now: float) -> None:
        """Nodes whose deadline has passed are DOWN."""
        for node_id in self._liveness.expired(now):
            session = self._sessions.get(node_id)
            if session is not None:
                session.end(Unavailable("no heartbeat came in time"))
                self._sessions.remove(session)
            node = self._store.view.nodes.get(node_id)
            if node is None or node.status.state == NodeStatus.DOWN:
                continue
            log.warning("node down node=%s", node_id)
            status = NodeStatus(
                state=NodeStatus.DOWN,
                message="heartbeat failure" if session else "the session ended",
                addr=node.status.addr,
                manager_id=self._node_id if session else node.status.manager_id,
            )
            self._reports.node_status(node_id, status)
            self._reported()


def _fell_silent(node: Node, old: object) -> bool:
    """Whether a manager no longer answers, so that the nodes it watched need another judge."""
    before = old.manager_status.reachability if isinstance(old, Node) else None
    silent = node.manager_status.reachability == ManagerStatus.UNREACHABLE
    return silent and before == ManagerStatus.REACHABLE
