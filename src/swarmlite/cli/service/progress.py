"""Shows services converge, as Docker does, and says how that ended."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import click

from swarmlite.cli import client
from swarmlite.cli.output.display import Display
from swarmlite.cli.service import changing, convergence
from swarmlite.cli.session import Session
from swarmlite.errors import FailedPrecondition, NotFound, SwarmliteError
from swarmlite.model import units
from swarmlite.proto.control_pb2 import (
    Filter,
    ListNodesResponse,
    ListRequest,
    ListServicesResponse,
    ListTasksRequest,
    ListTasksResponse,
    WatchRequest,
)
from swarmlite.proto.objects_pb2 import Service, Task
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
    converge_all(session, [(service_id, before)], quiet=quiet, rollback=rollback)


def converge_all(
    session: Session,
    touched: Iterable[changing.Touched],
    *,
    quiet: bool = False,
    rollback: bool = False,
) -> None:
    """As `converge`, for several: they are watched together, and shown one after the other.

    Who fails does not keep the others from being waited for. Raises what one failed with, or
    FailedPrecondition with each of them.
    """
    followers = [
        _Follower(service_id, before.update_status if before else UpdateStatus(), rollback)
        for service_id, before in touched
    ]
    if not followers:
        return
    news = _News(session, [follower.id for follower in followers])
    try:
        with news.watched():
            _follow(news, followers, quiet=quiet)
    except KeyboardInterrupt:
        click.echo("Operation continuing in background.")
        named = " ".join(follower.id for follower in followers if not follower.ended)
        click.echo(f"Use `swarmlite service ps {named}` to check progress.")
        return
    failed = [follower for follower in followers if follower.error is not None]
    if len(followers) == 1 and failed:
        assert failed[0].error is not None
        raise failed[0].error
    if failed:
        raise FailedPrecondition("; ".join(f"{one.name}: {one.error}" for one in failed))


def _follow(news: _News, followers: Sequence[_Follower], *, quiet: bool) -> None:
    """Until all have ended; the first that has not is the one that is seen."""
    left = deque(followers)
    while left:
        seen = news.look()
        for follower in left:
            follower.look(seen)
        while left:
            first = left[0]
            if not quiet and not first.display.speaks:
                if len(followers) > 1:
                    click.echo(first.name)
                first.display.speak()
            if not first.ended:
                break
            left.popleft()
        if left:
            if any(follower.unsure for follower in left):
                news.ask_again()
            news.wait(soon=any(follower.verifies for follower in left))


@dataclass
class _Seen:
    """What a manager answered."""

    services: dict[str, Service]
    down_nodes: set[str]
    tasks: defaultdict[str, list[Task]] = field(default_factory=lambda: defaultdict(list))
    fresh: bool = True
    """Whether it was asked just now."""


class _News:
    """Of some services: managers are asked again once their watch has told of something."""

    def __init__(self, session: Session, ids: Sequence[str]) -> None:
        self._session, self._ids = session, list(ids)
        self._of_these = Filter(key="service", values=self._ids)
        self._events: queue.Queue[None] = queue.Queue()
        self._watches = True
        self._seen: _Seen | None = None
        self._look_at = 0.0

    def look(self) -> _Seen:
        """What is now. Raises NotFound, where one service is followed and is gone."""
        now = time.monotonic()
        if self._seen is None or now >= self._look_at:
            self._seen = _Seen(self._services(), self._down_nodes())
            for task in self._tasks():
                self._seen.tasks[task.service_id].append(task)
            self._look_at = now + (TRUST_S if self._watches else LOOK_AGAIN_S)
        else:
            self._seen.fresh = False
        return self._seen

    def ask_again(self) -> None:
        """What the watch said last may still be on its way."""
        self._look_at = 0.0

    def wait(self, *, soon: bool) -> None:
        """For something to be told, or for a moment."""
        until = time.monotonic() + PAUSE_S
        try:
            self._events.get(timeout=PAUSE_S if soon else LOOK_AGAIN_S)
            self._look_at = 0.0
            time.sleep(max(0.0, until - time.monotonic()))
            while True:
                self._events.get_nowait()
        except queue.Empty:
            return

    def _services(self) -> dict[str, Service]:
        if len(self._ids) == 1:
            return {self._ids[0]: changing.get(self._session, self._ids[0])}
        request = ListRequest(filters=[Filter(key="id", values=self._ids)])
        reply: ListServicesResponse = client.call(self._session.control.ListServices, request)
        return {service.id: service for service in reply.services}

    def _tasks(self) -> Sequence[Task]:
        filters = [self._of_these, Filter(key="up-to-date", values=["true"])]
        request = ListTasksRequest(filters=filters)
        reply: ListTasksResponse = client.call(self._session.control.ListTasks, request)
        return reply.tasks

    def _down_nodes(self) -> set[str]:
        reply: ListNodesResponse = client.call(self._session.control.ListNodes, ListRequest())
        return {n.id for n in reply.nodes if n.status.state == NodeStatus.DOWN}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Their events are heard inside."""
        kinds = ["task", "service", "node"]
        request = WatchRequest(kinds=kinds, filters=[self._of_these])
        call = self._session.control.Watch(request)

        def follow() -> None:
            try:
                for _ in client.stream(call):
                    self._events.put(None)
            except SwarmliteError:
                pass  # cancelled at the end, or a manager went: looking again does without
            self._watches = False
            self._events.put(None)

        threading.Thread(target=follow, daemon=True).start()
        try:
            yield
        finally:
            call.cancel()


class _Follower:
    """One service on its way: what is shown of it, quietly until its turn has come."""

    def __init__(self, service_id: str, old: UpdateStatus, rollback: bool) -> None:
        self.id = self.name = service_id
        self.display = Display(quiet=True)
        self.ended = False
        self.error: SwarmliteError | None = None
        self.unsure = False
        """It looks as if it had converged; what says so may be old."""
        self._old, self._rollback = old, rollback
        self._converged_at: float | None = None

    @property
    def verifies(self) -> bool:
        """Whether all runs, and has to for a while."""
        return self._converged_at is not None and not self.ended

    def look(self, seen: _Seen) -> None:
        """Show what is now, and whether that is the end."""
        if self.ended:
            return
        self.unsure = False
        try:
            self.ended = self._look(seen)
        except (FailedPrecondition, NotFound) as error:
            self.error, self.ended = error, True

    def _look(self, seen: _Seen) -> bool:
        service = seen.services.get(self.id)
        if service is None:
            raise NotFound(f"service {self.name} not found")
        self.name = service.spec.annotations.name or self.id
        rolling = service.update_status.state in (
            UpdateStatus.ROLLBACK_STARTED,
            UpdateStatus.ROLLBACK_COMPLETED,
        )
        ended = convergence.finished_update(service, self._old)
        if ended is not None and ended[1]:
            raise FailedPrecondition(ended[0])
        view = convergence.look(service, seen.tasks[self.id], seen.down_nodes, rolling)
        self._show(view)
        if waits := convergence.stands_at_canaries(service, self._old):
            self.display.show([("canary", waits)])
            return True
        if not view.converged:
            if self._converged_at is not None:
                self.display.show([("verify", "Detected task failure")])
            self._converged_at = None
            return False
        if service.spec.WhichOneof("mode") in ("replicated_job", "global_job"):
            self.display.show([("verify", "job complete")])
            return True
        return self._verify(service, ended, fresh=seen.fresh)

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
            if self.display.terminal or self._converged_at == now:
                text = f"Waiting {math.ceil(left)} seconds to verify that tasks are stable..."
                self.display.show([("verify", text)])
            return False
        self.unsure = not fresh
        if self.unsure:
            return False
        self.display.show([("verify", f"Service {self.id} converged")])
        if ended is not None:
            if not self._rollback:
                raise FailedPrecondition(ended[0])
            self.display.show([("rollback", service.update_status.message)])
        return True

    def _show(self, view: convergence.View) -> None:
        keep = {name for name, _ in view.lines} | {"verify", "rollback"}
        lines = view.lines
        if not self.display.terminal:
            # Bars say nothing in a file: the sum, and why tasks do not run.
            lines = [*view.lines[:1], *(("error", text) for text in view.errors[:1])]
        elif len(view.lines) <= 2 and view.errors:
            lines = [*view.lines, ("error", view.errors[0])]
            keep.add("error")
        self.display.forget(self.display.names - keep - ({"error"} if view.errors else set()))
        self.display.show(lines)
