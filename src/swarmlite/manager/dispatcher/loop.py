"""What drives the dispatcher: assignments out, reports in, and the watch over nodes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

from swarmlite.errors import Conflict, InvalidSpec, PermissionDenied, ResourceExhausted, Unavailable
from swarmlite.manager.isolation import apart, kept_up
from swarmlite.manager.store.api import (
    Action,
    Change,
    Delete,
    Event,
    Put,
    Resync,
    Store,
    Subscription,
)
from swarmlite.model import defaults, task_states, units
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
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.types_pb2 import MANAGER, ManagerStatus, NodeStatus

from . import assignments, hosts
from .attachments import Attachments, stale
from .liveness import Liveness
from .reports import Reports
from .sessions import Session, Sessions

log = logging.getLogger(__name__)

SETTLE_S = 0.01
"""How long a first change waits for more: short, so that starting a task is quick."""

PERIOD_S = 0.06
"""The least time from one batch to the next, of assignments and of writes alike."""

PERIOD_PER_NODE_S = 0.0008
"""What a message to an agent and its answer cost, about twice over: a batch to many nodes makes
the next one wait longer and grow, so that a burst is a few messages a node and not one a task."""

CHUNK = 250
"""Tasks handled without giving way to other work."""

REPORTS = 1000
"""Tasks written at a time: enough for all the transactions that the store has under way at once."""

MESSAGES = 50
"""Sessions served without giving way: each writes its own message."""

RETRY_S = 0.5
CHECK_S = 0.25
ASK_S = 1.0
STALL_S = 2.0
ADOPT_S = 5.0
REPAIR_S = 5.0
ORPHAN_AFTER = timedelta(hours=24)
ORPHAN_CHECK_S = 60.0
FORGOTTEN_AFTER = timedelta(minutes=1)
KINDS = (*assignments.KINDS, "cluster")


class LogSink(Protocol):
    """Who takes the log lines that agents send: the log broker."""

    def received(self, node_id: str, chunk: LogChunk) -> None:
        """Lines, or the end of them, from a node."""


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
        self.attachments = Attachments(store)
        self._store = store
        self._node_id = node_id
        self._is_leader = is_leader
        self._clock = clock
        self._now = now
        self._set = assignments.AssignmentSet()
        self._undelivered: dict[str, list[AssignmentChange]] = {}
        self._reports = Reports()
        self._reported = asyncio.Event()
        self._liveness = Liveness(self._period_s())
        self._subscription: Subscription | None = None
        self._led = False
        self._assigning = False
        self._silent: set[str] = set()
        """Managers that answered while this one ran, and no longer do."""
        self._judge = False
        self._peers: list[ManagerPeer] | None = None

    # sessions
    def open(self, node_id: str, address: str, hello: Hello) -> Session:
        """Begin a node's session; one that it had ends with Conflict.

        Raises PermissionDenied for a node that was removed, Unavailable before this manager knows
        the node, or has started.
        """
        check_hello(hello)
        node = self._known(node_id)
        session = Session(node_id, hello.instance)
        old = self.sessions.add(session)
        if old is not None:
            if old.instance != hello.instance:
                log.warning("session taken over by another agent node=%s", node_id)
            old.end(Conflict(f"node {node_id} began another session"))
        self._catch_up()
        session.introduce(self._info(node))
        session.assign(self._set.complete(self._store.view, node_id), complete=True)
        self.sessions.opened(session)
        self._liveness.heard(node_id, self._clock())
        self._report_ready(node_id, address)
        self._describe(node, hello)
        self._reports.released(stale(self._store.view, node_id, hello.attachments))
        log.info("session began node=%s session=%s", node_id, session.id)
        return session

    def close(self, session: Session) -> None:
        """The stream is over; the node has a moment to come back before it is DOWN."""
        if self.sessions.remove(session):
            self._liveness.ended(session.node_id, self._clock())
            log.info("session ended node=%s session=%s", session.node_id, session.id)

    def received(self, session: Session, message: AgentMessage) -> None:
        """Take in an agent's message; each is a heartbeat."""
        if self.sessions.get(session.node_id) is not session:
            return
        node_id = session.node_id
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
            self._reported.set()
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

    def _report_ready(self, node_id: str, address: str) -> None:
        status = NodeStatus(state=NodeStatus.READY, addr=address, manager_id=self._node_id)
        self._reports.node_status(node_id, status)
        self._reported.set()

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
                self._report_ready(node.id, node.status.addr)

    def _info(self, node: Node) -> SessionInfo:
        view = self._store.view
        info = SessionInfo(node=node)
        info.node.ClearField("meta")
        info.node.ClearField("status")
        info.heartbeat_period.CopyFrom(units.duration(int(self._period_s() * units.SECOND)))
        info.managers.extend(self._managers())
        if view.cluster is not None:
            info.vxlan_udp_port = view.cluster.vxlan_udp_port
            info.ca_cert = view.cluster.root_ca.ca_cert
        return info

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
                    partial(kept_up, "writing reports", self._write_forever),
                    partial(kept_up, "watching nodes", self._watch_nodes),
                    partial(kept_up, "asking hosts", self._ask_hosts),
                    partial(kept_up, "orphaning", self._orphan_forever),
                ):
                    group.create_task(loop())
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
        while self._set.take(self._store.view, CHUNK):  # noqa: ASYNC110
            await asyncio.sleep(0)  # gives way to other work

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
            elif isinstance(event.obj, Node):
                self._node_changed(event, event.obj)

    def _node_changed(self, event: Event, node: Node) -> None:
        if _fell_silent(node, event.old):
            self._silent.add(node.id)
            self._judge = True
        elif node.manager_status.reachability != ManagerStatus.UNREACHABLE:
            self._silent.discard(node.id)
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
        self._render()
        reached = len(self._undelivered)
        while self._undelivered:
            for _ in range(min(MESSAGES, len(self._undelivered))):
                self._assign(*self._undelivered.popitem())
            await asyncio.sleep(0)
        return reached

    def _render(self) -> None:
        while self._undelivered:
            self._assign(*self._undelivered.popitem())
        self._undelivered = self._set.render(self.sessions.node_ids())

    def _assign(self, node_id: str, changes: Sequence[AssignmentChange]) -> None:
        session = self.sessions.get(node_id)
        if session is not None and session.info is not None:
            session.assign(changes)

    async def _write_forever(self) -> None:
        written_at = 0.0
        while True:
            await self._reported.wait()
            await asyncio.sleep(max(SETTLE_S, written_at + PERIOD_S - time.monotonic()))
            self._reported.clear()
            while self._reports:
                changes = self._reports.take(self._store.view, self._now(), REPORTS, self._node_id)
                if not await self._write(changes):
                    break
            written_at = time.monotonic()

    async def _write(self, changes: list[Change]) -> bool:
        """False when it is to be tried again later."""
        try:
            refused = await self._store.commit_many(changes) if changes else []
        except (Unavailable, ResourceExhausted) as error:
            log.warning("reports not written error=%s", error)
            self._reports.failed()
            self._reported.set()
            await asyncio.sleep(RETRY_S)
            return False
        except Exception:
            log.exception("reports not written: each is tried by itself")
            refused = [c for c in changes if not await self._write_one(c)]
        self._reports.refused(refused)
        if refused:
            self._reported.set()
        return not refused

    async def _write_one(self, change: Change) -> bool:
        """False when it conflicted; what cannot be written costs itself and nothing else."""
        try:
            return not await self._store.commit_many([change])
        except (Unavailable, ResourceExhausted):
            return False
        except Exception:
            log.exception("report dropped id=%s", change.obj.id)
            self._reports.dropped(change)
            return True

    # nodes
    async def _watch_nodes(self) -> None:
        adopted_at, listened_at = float("-inf"), time.monotonic()
        while True:
            now = self._clock()
            if now - adopted_at >= ADOPT_S or self._led != self._is_leader() or self._judge:
                self._judge = False
                self.adopt(now)
                adopted_at = now
            self._own_stall(time.monotonic() - listened_at)
            listened_at = time.monotonic()
            self.check_nodes(now)
            await asyncio.sleep(CHECK_S)

    async def _ask_hosts(self) -> None:
        while True:
            await self.ask_hosts()
            await asyncio.sleep(ASK_S)

    async def ask_hosts(self) -> None:
        """Nodes whose stream ended and whose hosts live have longer to come back."""
        nodes = self._store.view.nodes
        unheard = [node for i in self._liveness.unheard() if (node := nodes.get(i)) is not None]
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
            if self.sessions.get(node.id) is not None:
                continue
            if node.status.state != NodeStatus.DOWN and self._ours(node):
                soon = node.status.manager_id in self._silent
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
            session = self.sessions.get(node_id)
            if session is not None:
                session.end(Unavailable("no heartbeat came in time"))
                self.sessions.remove(session)
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
            self._reported.set()

    async def _orphan_forever(self) -> None:
        while True:
            if self._is_leader():
                changes = self.orphans()
                if changes:
                    try:
                        await self._store.commit_many(changes)
                    except (Unavailable, ResourceExhausted) as error:
                        log.warning("orphans not written error=%s", error)
            await asyncio.sleep(ORPHAN_CHECK_S)

    def orphans(self) -> list[Change]:
        """Tasks of nodes that are gone, or DOWN for a day: nobody will report of them again."""
        view, changes = self._store.view, list[Change]()
        for task in view.tasks:
            if task_states.is_attachment(task):
                if self._long_gone(view.nodes.get(task.node_id)) or self._forgotten(task):
                    changes.append(Delete(task))
                continue
            live = task_states.ASSIGNED <= task.status.state <= task_states.RUNNING
            if live and task.node_id and self._long_gone(view.nodes.get(task.node_id)):
                copy = Task()
                copy.CopyFrom(task)
                copy.status.state = task_states.ORPHANED
                copy.status.message = "the node is gone"
                copy.status.timestamp.FromDatetime(self._now())
                copy.status.applied_by = self._node_id
                copy.status.applied_at.FromDatetime(self._now())
                changes.append(Put(copy))
        return changes

    def _forgotten(self, task: Task) -> bool:
        """An attachment without an address whose caller, and its manager, are long gone."""
        age = self._now() - task.meta.created_at.ToDatetime(UTC)
        return task.status.state < task_states.ASSIGNED and age > FORGOTTEN_AFTER

    def _long_gone(self, node: Node | None) -> bool:
        if node is None:
            return True
        down = node.status.state == NodeStatus.DOWN and node.status.HasField("since")
        return down and self._now() - node.status.since.ToDatetime(UTC) > ORPHAN_AFTER


def _fell_silent(node: Node, old: object) -> bool:
    """Whether a manager no longer answers, so that the nodes it watched need another judge."""
    before = old.manager_status.reachability if isinstance(old, Node) else None
    silent = node.manager_status.reachability == ManagerStatus.UNREACHABLE
    return silent and before == ManagerStatus.REACHABLE


def _moved(node: Node, old: object) -> bool:
    """Whether the list of managers may differ: one came, went, or has another address."""
    before = old if isinstance(old, Node) else Node()
    if MANAGER not in (node.role, before.role):
        return False
    return before.role != node.role or before.manager_status.addr != node.manager_status.addr
