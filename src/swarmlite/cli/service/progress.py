"""Shows a service converge, as Docker does, and says how it ended."""

from __future__ import annotations

import math
import queue
import threading
import time
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.output.display import Display
from swarmlite.cli.service import changing, convergence
from swarmlite.cli.session import Session
from swarmlite.errors import FailedPrecondition, SwarmliteError
from swarmlite.model import units
from swarmlite.proto.control_pb2 import (
    Filter,
    ListNodesResponse,
    ListRequest,
    ListTasksRequest,
    ListTasksResponse,
    WatchRequest,
)
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.types_pb2 import NodeStatus, UpdateStatus

MONITOR_S = 5.0
PAUSE_S = 0.2
"""Between two looks, however many events come."""
LOOK_AGAIN_S = 1.0
"""Without a watch that tells of events."""
TRUST_S = 30.0
"""Without any event, while there is one: two hundred views that asked each second took half of a
manager's core."""


def converge(
    session: Session,
    service_id: str,
    *,
    quiet: bool = False,
    before: Service | None = None,
    rollback: bool = False,
) -> None:
    """Show the service's tasks until all have run for its monitor period; or how it failed.

    `before` is the service before the change; `rollback` says that a rollback is what was asked
    for. Raises FailedPrecondition when the update paused or was rolled back. Interrupted, it says
    how to go on and returns: the change itself is the managers' by then.
    """
    old = before.update_status if before is not None else UpdateStatus()
    follower = _Follower(session, service_id, Display(quiet=quiet), old, rollback)
    try:
        follower.run()
    except KeyboardInterrupt:
        click.echo("Operation continuing in background.")
        click.echo(f"Use `swarmlite service ps {service_id}` to check progress.")


class _Follower:
    def __init__(
        self,
        session: Session,
        service_id: str,
        display: Display,
        old: UpdateStatus,
        rollback: bool,
    ) -> None:
        self._session, self._id, self._display = session, service_id, display
        self._old, self._rollback = old, rollback
        self._converged_at: float | None = None
        self._events: queue.Queue[None] = queue.Queue()
        self._watches = True
        self._seen: tuple[Service, Any, set[str]] | None = None
        self._look_at = 0.0

    def run(self) -> None:
        watch = self._watch()
        try:
            while not self._look():
                self._wait()
        finally:
            watch.cancel()

    def _look(self) -> bool:
        """Show what is now; whether that was the end."""
        now = time.monotonic()
        fresh = self._seen is None or now >= self._look_at
        if self._seen is None or fresh:
            service = changing.get(self._session, self._id)
            self._seen = service, self._tasks(), self._down_nodes()
            self._look_at = now + (TRUST_S if self._watches else LOOK_AGAIN_S)
        service, tasks, down_nodes = self._seen
        rolling = service.update_status.state in (
            UpdateStatus.ROLLBACK_STARTED,
            UpdateStatus.ROLLBACK_COMPLETED,
        )
        ended = convergence.finished_update(service, self._old)
        if ended is not None and ended[1]:
            raise FailedPrecondition(ended[0])
        view = convergence.look(service, tasks, down_nodes, rolling)
        self._show(view)
        if waits := convergence.stands_at_canaries(service, self._old):
            self._display.show([("canary", waits)])
            return True
        if not view.converged:
            if self._converged_at is not None:
                self._display.show([("verify", "Detected task failure")])
            self._converged_at = None
            return False
        if service.spec.WhichOneof("mode") in ("replicated_job", "global_job"):
            self._display.show([("verify", "job complete")])
            return True
        return self._verify(service, ended, fresh=fresh)

    def _verify(self, service: Service, ended: tuple[str, bool] | None, *, fresh: bool) -> bool:
        now = time.monotonic()
        self._converged_at = self._converged_at or now
        monitor = MONITOR_S
        if service.spec.update.HasField("monitor"):
            monitor = units.seconds(service.spec.update.monitor) or MONITOR_S
        left = self._converged_at + monitor - now
        updated = (
            service.update_status.state == UpdateStatus.COMPLETED
            and service.update_status != self._old
        )
        if left > 0 and not updated and ended is None:
            if self._display.terminal or self._converged_at == now:
                text = f"Waiting {math.ceil(left)} seconds to verify that tasks are stable..."
                self._display.show([("verify", text)])
            return False
        if not fresh:  # what the watch said last may still be on its way
            self._look_at = 0.0
            return False
        self._display.show([("verify", f"Service {self._id} converged")])
        if ended is not None:
            if not self._rollback:
                raise FailedPrecondition(ended[0])
            self._display.show([("rollback", service.update_status.message)])
        return True

    def _show(self, view: convergence.View) -> None:
        keep = {name for name, _ in view.lines} | {"verify", "rollback"}
        lines = view.lines
        if not self._display.terminal:
            # Bars say nothing in a file: the sum, and why tasks do not run.
            lines = [*view.lines[:1], *(("error", text) for text in view.errors[:1])]
        elif len(view.lines) <= 2 and view.errors:
            lines = [*view.lines, ("error", view.errors[0])]
            keep.add("error")
        self._display.forget(self._display.names - keep - ({"error"} if view.errors else set()))
        self._display.show(lines)

    def _tasks(self) -> Any:
        filters = [
            Filter(key="service", values=[self._id]),
            Filter(key="up-to-date", values=["true"]),
        ]
        request = ListTasksRequest(filters=filters)
        reply: ListTasksResponse = client.call(self._session.control.ListTasks, request)
        return reply.tasks

    def _down_nodes(self) -> set[str]:
        reply: ListNodesResponse = client.call(self._session.control.ListNodes, ListRequest())
        return {n.id for n in reply.nodes if n.status.state == NodeStatus.DOWN}

    def _watch(self) -> Any:
        filters = [Filter(key="service", values=[self._id])]
        kinds = ["task", "service", "node"]
        call = self._session.control.Watch(WatchRequest(kinds=kinds, filters=filters))

        def follow() -> None:
            try:
                for _ in client.stream(call):
                    self._events.put(None)
            except SwarmliteError:
                pass  # cancelled at the end, or a manager went: looking again does without
            self._watches = False
            self._events.put(None)

        threading.Thread(target=follow, daemon=True).start()
        return call

    def _wait(self) -> None:
        until = time.monotonic() + PAUSE_S
        timeout = LOOK_AGAIN_S if self._converged_at is None else PAUSE_S
        try:
            self._events.get(timeout=timeout)
            self._look_at = 0.0
            time.sleep(max(0.0, until - time.monotonic()))
            while True:
                self._events.get_nowait()
        except queue.Empty:
            return
