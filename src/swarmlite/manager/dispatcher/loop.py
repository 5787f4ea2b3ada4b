"""What drives the dispatcher: assignments out, reports in, and the watch over nodes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

import grpc.aio

from swarmlite.errors import Conflict, InvalidSpec, PermissionDenied, ResourceExhausted, Unavailable
from swarmlite.manager.ca import rotation
from swarmlite.manager.isolation import apart, kept_up
from swarmlite.manager.store.api import (
    Action,
    Change,
    Event,
    Resync,
    Store,
    Subscription,
)
from swarmlite.model import defaults, units
from swarmlite.model.validate.reports import check_hello, check_message
from swarmlite.proto.dispatcher_pb2 import (
    AgentMessage,
    AssignmentChange,
    Hello,
    LogChunk,
    ManagerMessage,
    ManagerPeer,
    SessionInfo,
)
from swarmlite.proto.objects_pb2 import Cluster, Node
from swarmlite.proto.types_pb2 import MANAGER, NodeStatus

from . import assignments
from .attachments import Attachments, stale
from .carrying import Carrying
from .checking import Checks
from .copies import check_place
from .figures import Figures
from .handover import Handover
from .judging import NodeJudge
from .liveness import Liveness
from .measuring import Measuring
from .orphans import orphans
from .reports import Reports
from .sessions import Session, Sessions
from .writing import PERIOD_S, SETTLE_S, ReportWriter

log = logging.getLogger(__name__)

PERIOD_PER_NODE_S = 0.0008
"""What a message to an agent and its answer cost, about twice over: a batch to many nodes makes
the next one wait longer and grow, so that a burst is a few messages a node and not one a task."""

CHUNK = 100
"""Tasks handled without giving way to other work."""

MESSAGES = 50
"""Sessions served without giving way: each writes its own message."""

REPAIR_S = 5.0
ORPHAN_CHECK_S = 60.0
KINDS = (*assignments.KINDS, "cluster")


class LogSink(Protocol):
    """Who takes the log lines that agents send: the log broker."""

    def received(self, node_id: str, chunk: LogChunk) -> None:
        """Lines, or the end of them, from a node."""


class Accepting(Protocol):
    """Who takes the nodes' ends of tunnels."""

    async def accept(self, node_id: str, node: Any) -> None:
        """A call of a node's, for as long as the tunnel lasts."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Dispatcher:
    """Sessions, assignments, reports and liveness of the nodes that talk to this manager.

    `is_leader` says whether this manager leads: only the leader judges nodes that no manager hears
    of. `clock` counts seconds for deadlines; `now` is the time for what is stored.
    """

    def __init__(
        self,
        store: Store,
        node_id: str,
        *,
        is_leader: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.sessions = Sessions()
        self.logs: LogSink | None = None
        self.carrying: Carrying | None = None
        self.tunnels: Accepting | None = None
        self.handover: Handover | None = None
        self.attachments = Attachments(store)
        self.checks = Checks(self.sessions)
        self.measuring = Measuring(store, self.sessions, now)
        self.figures = Figures(store, self.sessions, clock)
        self._store = store
        self._node_id = node_id
        self._is_leader = is_leader
        self._clock = clock
        self._now = now
        self._subscription: Subscription | None = None
        self._set = assignments.AssignmentSet()
        self._undelivered: dict[str, list[AssignmentChange]] = {}
        self._reports = Reports()
        self._writer = ReportWriter(store, node_id, self._reports, now)
        self._liveness = Liveness(self._period_s())
        self.judge = NodeJudge(
            store,
            node_id,
            self.sessions,
            self._liveness,
            self._reports,
            is_leader=is_leader,
            clock=clock,
            reported=self._writer.wake,
        )
        self._assigning = False
        self._peers: list[ManagerPeer] | None = None

    # sessions
    def open(self, node_id: str, address: str, hello: Hello) -> Session:
        """Begin a node's session; one that it had ends with Conflict.

        Raises PermissionDenied for a node that was removed, Unavailable before this manager knows
        the node, or has started.
        """
        check_hello(hello)
        if self.handover is not None:
            self.handover.check()
        node = self._known(node_id)
        check_place(node, address, hello)
        session = Session(node_id, hello.instance)
        old = self.sessions.add(session)
        if old is not None:
            if old.instance != hello.instance:
                log.warning("session taken over by another agent node=%s", node_id)
            old.end(Conflict(f"node {node_id} began another session"))
        self._catch_up()
        session.introduce(self._info(node))
        complete = self._set.complete(self._store.view, node_id)
        session.assign(complete, complete=True, keep_unknown=self._restored())
        self.sessions.opened(session)
        self._liveness.heard(node_id, self._clock())
        self._report_ready(node_id, address, hello.place)
        self._describe(node, hello)
        self._reports.released(stale(self._store.view, node_id, hello.attachments))
        log.info("session began node=%s session=%s", node_id, session.id)
        return session

    def hand_over(
        self, has_store: Callable[[], bool], channel: Callable[[str], grpc.aio.Channel]
    ) -> None:
        """Let nodes go to other managers while this one has lost the store; see handover.py."""
        self.handover = Handover(
            self._store,
            self._node_id,
            self.sessions,
            self._reports,
            has_store,
            channel,
            self._clock,
        )
        handover = self.handover
        self.judge.away = lambda: handover.away

    def close(self, session: Session) -> None:
        """The stream is over; the node has a moment to come back before it is DOWN."""
        if self.sessions.remove(session):
            self._liveness.ended(session.node_id, self._clock())
            log.info("session ended node=%s session=%s", session.node_id, session.id)

    @property
    def reports_waiting(self) -> int:
        """Reports that are not in the store yet."""
        return len(self._reports)

    def silences_s(self) -> dict[str, float]:
        """How long nothing came from each node that has a session here."""
        now = self._clock()
        found = {
            node_id: self._liveness.silence_s(node_id, now) for node_id in self.sessions.node_ids()
        }
        return {node_id: seconds for node_id, seconds in found.items() if seconds is not None}

    def received(self, session: Session, message: AgentMessage) -> None:
        """Take in an agent's message; each is a heartbeat."""
        if self.sessions.get(session.node_id) is not session:
            return
        node_id = session.node_id
        if not message.ByteSize():  # it says no more than that the node is there, as most do
            self._liveness.heard(node_id, self._clock())
            self._repair(session)
            return
        try:
            check_message(message)
        except InvalidSpec as error:
            log.warning("session ended node=%s error=%s", node_id, error)
            session.end(error)
            return
        self._liveness.heard(node_id, self._clock())
        view, now = self._store.view, self._now()
        for update in message.statuses:
            apart("report of node", node_id, self._reports.task, node_id, update, view, now)
        if message.HasField("description"):
            described = self._reports.node_description
            apart("report of node", node_id, described, node_id, message.description)
        if self._reports:
            self._writer.wake()
        if self.carrying is not None:
            if message.HasField("images"):
                apart("images of node", node_id, self.carrying.held, node_id, message.images)
            if message.HasField("fetch"):
                apart("report of node", node_id, self.carrying.reported, node_id, message.fetch)
        if message.HasField("network_findings"):
            said = message.network_findings
            apart("findings of node", node_id, self.checks.received, node_id, said)
        if message.usage:
            apart("usage of node", node_id, self.measuring.told, node_id, message.usage)
        if message.figures:
            apart("figures of node", node_id, self.figures.told, node_id, message.figures)
        for chunk in message.logs:
            if self.logs is not None:
                apart("log of node", node_id, self.logs.received, node_id, chunk)
        self._repair(session)

    def _known(self, node_id: str) -> Node:
        view = self._store.view
        if self._subscription is None:
            raise Unavailable("this manager is starting")
        node = view.nodes.get(node_id)
        if node is None:
            if view.cluster and node_id in view.cluster.blacklisted_certificates:
                raise PermissionDenied(f"node {node_id} was removed from the swarm")
            raise Unavailable(f"node {node_id} is not known here yet")
        return node

    def _report_ready(self, node_id: str, address: str, place: str) -> None:
        status = NodeStatus(
            state=NodeStatus.READY, addr=address, manager_id=self._node_id, place=place
        )
        self._reports.node_status(node_id, status)
        self._writer.wake()

    def _describe(self, node: Node, hello: Hello) -> None:
        if hello.HasField("description") and hello.description != node.description:
            self._reports.node_description(node.id, hello.description)

    def _repair(self, session: Session) -> None:
        """A node that talks to us is not DOWN, whoever wrote so."""
        node = self._store.view.nodes.get(session.node_id)
        if node is not None and node.status.state == NodeStatus.DOWN:
            since = self._now() - node.status.since.ToDatetime(UTC)
            # Ahead of now by a clock that stepped: the node talks, and nothing is known against it.
            if not timedelta() <= since <= timedelta(seconds=REPAIR_S):
                self._report_ready(node.id, node.status.addr, node.status.place)

    def _info(self, node: Node) -> SessionInfo:
        view = self._store.view
        info = SessionInfo(node=node)
        info.node.ClearField("meta")
        info.node.ClearField("status")
        info.heartbeat_period.CopyFrom(units.duration(int(self._period_s() * units.SECOND)))
        info.managers.extend(self._managers())
        if view.cluster is not None:
            info.network_key = view.cluster.network_key
            info.vxlan_udp_port = view.cluster.vxlan_udp_port
            info.ca_cert = rotation.trusted(view.cluster)
            if view.cluster.root_ca.HasField("rotation"):
                info.issuer = rotation.issuer(view.cluster)
        return info

    def _restored(self) -> bool:
        cluster = self._store.view.cluster
        return cluster is not None and cluster.HasField("restored")

    def _managers(self) -> list[ManagerPeer]:
        """Where managers are; looked for among all nodes only after one of them changed."""
        if self._peers is None:
            self._peers = [
                ManagerPeer(node_id=manager.id, addr=manager.manager_status.addr)
                for manager in self._store.view.nodes
                if manager.role == MANAGER and manager.manager_status.addr
            ]
        return self._peers

    def _period_s(self) -> float:
        cluster = self._store.view.cluster
        return defaults.heartbeat_s(cluster.spec) if cluster else defaults.HEARTBEAT_S

    # loops
    async def run(self) -> None:
        """Serve until cancelled. When it ends, every session is ended."""
        try:
            async with self._store.subscribe(*KINDS) as subscription, asyncio.TaskGroup() as group:
                self._subscription = subscription
                self._set.reset(self._store.view)
                assigning = partial(self._assign_forever, subscription)
                for loop in (
                    partial(kept_up, "assigning", assigning),
                    partial(kept_up, "writing reports", self._writer.run),
                    partial(kept_up, "watching nodes", self.judge.run),
                    partial(kept_up, "asking hosts", self.judge.ask_forever),
                    partial(kept_up, "watching silence", self.judge.watch_silence),
                    partial(kept_up, "orphaning", self._orphan_forever),
                    partial(kept_up, "measuring", self.measuring.run),
                    partial(kept_up, "figures", self.figures.run),
                ):
                    group.create_task(loop())
                if self.handover is not None:
                    group.create_task(kept_up("handing over", self.handover.run))
        finally:
            self._subscription = None
            for session in self.sessions:
                session.end(Unavailable("this manager is stopping"))

    async def _assign_forever(self, subscription: Subscription) -> None:
        if self._assigning:
            # It failed: what was under way to some nodes is not known.
            self._set = assignments.AssignmentSet()
            self._set.reset(self._store.view)
            self._undelivered.clear()
            for session in self.sessions:
                session.end(Unavailable("this manager starts its assignments over"))
        self._assigning = True
        await self._take()
        self._deliver()
        events = aiter(subscription)
        next_at = 0.0
        while True:
            try:
                self._observe(await anext(events))
                await asyncio.sleep(max(SETTLE_S, next_at - time.monotonic()))
                self._observe(subscription.drain())
            except Resync:
                events = aiter(subscription)
                self._start_over()
            await self._take()
            reached = await self._deliver_gently()
            self._ask_again()
            next_at = time.monotonic() + max(PERIOD_S, PERIOD_PER_NODE_S * reached)

    def _ask_again(self) -> None:
        for node_id, task_ids in self._reports.again(self._store.view, self._now()).items():
            self.sessions.send(node_id, ManagerMessage(report_again=task_ids))

    async def _take(self) -> None:
        more = True
        while more:
            async with self._store.slices.one():
                more = self._set.take(self._store.view, CHUNK)

    def _catch_up(self) -> None:
        """Deliver all that has happened: what is answered next follows on it."""
        assert self._subscription is not None
        try:
            self._observe(self._subscription.drain())
        except Resync:
            self._start_over()
        while self._set.take(self._store.view):
            continue
        self._deliver()

    def _start_over(self) -> None:
        """Events were lost: compare everything."""
        self._set.reset(self._store.view)
        self._peers = None
        for session in self.sessions:
            node = self._store.view.nodes.get(session.node_id)
            if node is None:
                self._removed(session.node_id)
            elif session.info is not None:
                session.introduce(self._info(node))

    def _observe(self, events: Sequence[Event]) -> None:
        self._set.observe(events)
        for event in events:
            if event.kind == "cluster":
                self._liveness.period_s = self._period_s()
                self._introduce_all()
                self._settle(event)
            elif isinstance(event.obj, Node):
                self._node_changed(event, event.obj)

    def _settle(self, event: Event) -> None:
        """What the restored store does not know is removed by the next COMPLETE sets."""
        if event.old is None or not isinstance(event.old, Cluster):
            return
        if event.old.HasField("restored") and not self._restored():
            for session in self.sessions:
                session.end(Unavailable("the restored store is settled: assignments are new"))

    def _node_changed(self, event: Event, node: Node) -> None:
        self.judge.node_changed(node, event.old)
        if _moved(node, event.old):
            self._peers = None
            self._introduce_all()
        if event.action is Action.REMOVE:
            self._removed(node.id)
        else:
            self._introduce(node.id)

    def _introduce_all(self) -> None:
        for session in self.sessions:
            self._introduce(session.node_id)

    def _introduce(self, node_id: str) -> None:
        session, node = self.sessions.get(node_id), self._store.view.nodes.get(node_id)
        # The first introduction is `open`'s, so that it comes before the assignments.
        if session is not None and node is not None and session.info is not None:
            session.introduce(self._info(node))

    def _removed(self, node_id: str) -> None:
        self._liveness.forget(node_id)
        session = self.sessions.get(node_id)
        if session is not None:
            session.end(PermissionDenied(f"node {node_id} was removed from the swarm"))

    def _deliver(self) -> None:
        """Hand every node what it has to hear, now."""
        self._render()
        while self._undelivered:
            self._assign(*self._undelivered.popitem())

    async def _deliver_gently(self) -> int:
        """As _deliver, a few nodes at a time; answer how many there were.

        A session that begins meanwhile has the rest delivered at once, so that order is kept.
        """
        async with self._store.slices.one():
            self._render()
            reached = len(self._undelivered)
        while self._undelivered:
            async with self._store.slices.one():
                for _ in range(min(MESSAGES, len(self._undelivered))):
                    self._assign(*self._undelivered.popitem())
        return reached

    def _render(self) -> None:
        while self._undelivered:
            self._assign(*self._undelivered.popitem())
        self._undelivered = self._set.render(self.sessions.node_ids())

    def _assign(self, node_id: str, changes: Sequence[AssignmentChange]) -> None:
        session = self.sessions.get(node_id)
        if session is not None and session.info is not None:
            session.assign(changes)

    async def _orphan_forever(self) -> None:
        while True:
            if self._is_leader() and (changes := self.orphans()):
                try:
                    await self._store.commit_many(changes)
                except (Unavailable, ResourceExhausted) as error:
                    log.warning("orphans not written error=%s", error)
            await asyncio.sleep(ORPHAN_CHECK_S)

    def orphans(self) -> list[Change]:
        """See orphans.py."""
        return orphans(self._store.view, self._now(), self._node_id)


def _moved(node: Node, old: object) -> bool:
    """Whether the list of managers may differ: one came, went, or has another address."""
    before = old if isinstance(old, Node) else Node()
    if MANAGER not in (node.role, before.role):
        return False
    return before.role != node.role or before.manager_status.addr != node.manager_status.addr
