"""Keeps a picture of the cluster up to date: one watch, and a call to each node that has tasks.

A node's call goes by a tunnel to its engine, which knows only tasks there, and gives a reading a
second of each. What fails is tried again until it is told to stop; meanwhile the picture says why.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from swarmlite.cli import client
from swarmlite.cli.dashboard.picture import Picture
from swarmlite.cli.reaching import READ, TaskSession
from swarmlite.cli.session import Session
from swarmlite.errors import NotFound, SwarmliteError
from swarmlite.model import task_states
from swarmlite.proto.containers_pb2 import StatsRequest
from swarmlite.proto.control_pb2 import (
    ListRequest,
    ListTasksRequest,
    TunnelTo,
    WatchRequest,
    WatchResponse,
)

AGAIN_S = 1.0

MOST_NODES = 200
"""Whose usage is asked for: each takes a tunnel."""


class Follower:
    """Threads; `picture` is theirs, to be looked at under `lock` only."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.picture = Picture()
        self.lock = threading.Lock()
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._calls: set[Any] = set()
        self._asked: set[str] = set()

    def start(self) -> None:
        """Begin to follow."""
        for work in (self._watch, self._count):
            self._begin(self._again, work)

    def stop(self) -> None:
        """End every call; the threads end behind it."""
        self._stopping.set()
        self._changed.set()
        with self.lock:
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    def _begin(self, work: Callable[..., None], *args: Any) -> None:
        threading.Thread(target=work, args=args, daemon=True).start()

    def _again(self, work: Callable[[], None]) -> None:
        """`work` again and again; what goes wrong is shown until it does no longer."""
        while not self._stopping.is_set():
            try:
                work()
            except (SwarmliteError, OSError) as error:
                self._trouble("managers", str(error))
            self._stopping.wait(AGAIN_S)

    def _trouble(self, where: str, line: str) -> None:
        """What is wrong with a node, or with the managers; empty for nothing."""
        with self.lock:
            if not line:
                self.picture.troubles.pop(where, None)
            elif not self._stopping.is_set():
                self.picture.troubles[where] = line

    def _replies(self, call: Any) -> Any:
        """Those of a streaming call, which `stop` ends."""
        with self.lock:
            self._calls.add(call)
        if self._stopping.is_set():
            call.cancel()
        try:
            yield from client.stream(call)
        finally:
            with self.lock:
                self._calls.discard(call)
            call.cancel()

    def _watch(self) -> None:
        request = WatchRequest(kinds=("node", "service", "task"))
        replies = self._replies(self._session.control.Watch(request))
        next(replies, None)  # it is in place
        self._list()
        for reply in replies:
            self._apply(reply)
            self._ask_nodes()

    def _list(self) -> None:
        control = self._session.control
        nodes = client.call(control.ListNodes, ListRequest()).nodes
        services = client.call(control.ListServices, ListRequest()).services
        tasks = client.call(control.ListTasks, ListTasksRequest()).tasks
        with self.lock:
            self.picture.replace(nodes, services, tasks)
        self._trouble("managers", "")
        self._changed.set()
        self._ask_nodes()

    def _apply(self, reply: WatchResponse) -> None:
        with self.lock:
            for event in reply.events:
                self.picture.apply(event)
            self.picture.readings.keep(self.picture.tasks)
        self._changed.set()

    def _count(self) -> None:
        self._changed.wait()
        self._changed.clear()
        if not self._stopping.is_set():
            reply = client.call(self._session.control.ListServices, ListRequest())
            with self.lock:
                self.picture.status = dict(reply.status.items())
            self._trouble("managers", "")

    def _ask_nodes(self) -> None:
        """Nodes that run a task and are not asked yet, by way of one of their tasks.

        What was wrong with others is no trouble any more.
        """
        with self.lock:
            there: dict[str, str] = {}
            for task in self.picture.live():
                if task.node_id in self.picture.nodes and task_states.is_running(task):
                    there.setdefault(task.node_id, task.id)
            for gone in self.picture.troubles.keys() - there.keys() - {"managers"}:
                del self.picture.troubles[gone]
            fresh = {node: task for node, task in there.items() if node not in self._asked}
            room = max(0, MOST_NODES - len(self._asked))
            chosen = dict(list(fresh.items())[:room])
            self._asked.update(chosen)
        for node_id, task_id in chosen.items():
            self._begin(self._read_node, node_id, task_id)

    def _read_node(self, node_id: str, task_id: str) -> None:
        """Until its call ends; then another of its tasks is the way."""
        to = TunnelTo(task=task_id, access=READ)
        try:
            there = TaskSession(self._session, to).containers
            for reading in self._replies(there.Stats(StatsRequest(stream=True))):
                self._trouble(node_id, "")
                with self.lock:
                    self.picture.readings.told(reading, self.picture.now())
        except NotFound:
            pass  # the task has just ended
        except (SwarmliteError, OSError) as error:
            self._trouble(node_id, str(error))
        self._stopping.wait(AGAIN_S)
        with self.lock:
            self._asked.discard(node_id)
        if not self._stopping.is_set():
            self._ask_nodes()
