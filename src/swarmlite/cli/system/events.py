"""`swarmlite system events` and `swarmlite events`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Empty, Queue
from threading import Thread
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.moments import MOMENT
from swarmlite.cli.output.gofunctions import to_json
from swarmlite.cli.output.gotemplate import Template
from swarmlite.cli.output.listing import filter_option, filters_of
from swarmlite.cli.session import Session, pass_session
from swarmlite.docker import event
from swarmlite.docker.swarmevent import WITH_TASKS, SwarmEvents, kinds_of, passes
from swarmlite.docker.values import Json
from swarmlite.errors import SwarmliteError
from swarmlite.proto.control_pb2 import ListRequest, ListTasksRequest, WatchRequest
from swarmlite.proto.host_pb2 import EventsRequest, HostEvent

AGAIN_S = 1.0


@click.command("events", cls=Command)
@filter_option
@click.option("--since", type=MOMENT, help="Show all events created since a time or duration.")
@click.option("--until", type=MOMENT, help="Stream events until this time.")
@click.option("--format", "form", default="", help="'json' or a Go template.")
@pass_session
def command(session: Session, filters: Any, since: Any, until: Any, form: str) -> None:
    """Get real time events from this host and, on a manager, from the swarm.

    In a context that leads to managers (swarm://) from the swarm.

    \b
    Examples:
      swarmlite events --filter type=service
      swarmlite events --since 10m --until 0m --format '{{json .}}'
    """
    request = EventsRequest(since=since, until=until, filters=filters_of(filters))
    template = Template(form) if form and form != "json" else None
    for one in _all(session, request):
        click.echo(_shown(one, form, template))


def _all(session: Session, request: EventsRequest) -> Iterator[HostEvent]:
    """The host's, which end with `until`, and the swarm's between them."""
    kinds = kinds_of(request.filters, WITH_TASKS)
    if session.node.managers_only:
        yield from _of_managers(session, request, kinds)
        return
    manager = _manager(session) if kinds else None
    if manager is None:
        yield from client.stream(session.host.Events(request))
        return
    queue: Queue[HostEvent | BaseException | None] = Queue()
    _begin(lambda: client.stream(session.host.Events(request)), queue)
    _begin(lambda: _kept_up(manager, request, kinds), queue)
    while (one := queue.get()) is not None:
        if isinstance(one, BaseException):
            raise one
        yield one


def _of_managers(
    session: Session, request: EventsRequest, kinds: Sequence[str]
) -> Iterator[HostEvent]:
    """The swarm's from now on, until the time that is asked for."""
    if not kinds:
        # Of containers and all else of a host: the way there says that it leads to none.
        yield from client.stream(session.host.Events(request))
        return
    queue: Queue[HostEvent | BaseException | None] = Queue()
    manager = session.control
    _begin(lambda: _kept_up(manager, request, kinds), queue)
    until = request.until.ToNanoseconds() / 1e9 if request.HasField("until") else None
    while True:
        left_s = None if until is None else max(until - time.time(), 0.0)
        try:
            one = queue.get(timeout=left_s)
        except Empty:
            return
        if isinstance(one, BaseException):
            raise one
        if one is not None:
            yield one


def _manager(session: Session) -> Any:
    """None where there is none, or it does not answer: the host's own events are told then."""
    try:
        return session.manager
    except SwarmliteError as error:
        click.echo(f"events of the swarm are left out: {error}", err=True)
        return None


def _begin(
    events: Callable[[], Iterable[HostEvent]], queue: Queue[HostEvent | BaseException | None]
) -> None:
    """Put them there from a thread of their own, and what they end with."""

    def work() -> None:
        try:
            for one in events():
                queue.put(one)
            queue.put(None)
        except BaseException as error:
            queue.put(error)

    Thread(target=work, daemon=True).start()


def _kept_up(manager: Any, request: EventsRequest, kinds: Sequence[str]) -> Iterator[HostEvent]:
    """The swarm's without end: a manager that starts again is watched again."""
    while True:
        try:
            yield from _of_swarm(manager, request, kinds)
        except SwarmliteError as error:
            click.echo(f"events of the swarm are left out meanwhile: {error}", err=True)
        time.sleep(AGAIN_S)


def _of_swarm(manager: Any, request: EventsRequest, kinds: Sequence[str]) -> Iterator[HostEvent]:
    told = SwarmEvents()
    watching = client.stream(manager.Watch(WatchRequest(kinds=kinds)))
    next(watching, None)  # the watch is in place
    for node in client.call(manager.ListNodes, ListRequest()).nodes:
        told.seen(node)
    for task in client.call(manager.ListTasks, ListTasksRequest()).tasks:
        told.seen(task)
    for response in watching:
        for each in response.events:
            body = told.body(each, time.time_ns())
            if body is not None and passes(body, each, request.filters):
                yield _message(body)


def _message(body: Json) -> HostEvent:
    made = HostEvent(
        type=body["Type"],
        action=body["Action"],
        actor_id=body["Actor"]["ID"],
        attributes=body["Actor"]["Attributes"],
        scope=body["scope"],
    )
    made.time.FromNanoseconds(body["timeNano"])
    return made


def _shown(one: HostEvent, form: str, template: Template | None) -> str:
    if template is None:
        return to_json(event.body(one)) if form == "json" else event.line(one)
    body = event.body(one)
    names = {"ID": body.get("id", one.actor_id), "Status": body.get("status", one.action)}
    extra = {"From": body.get("from", ""), "Scope": body["scope"]}
    times = {"Time": body["time"], "TimeNano": body["timeNano"]}
    fields = {key: body[key] for key in ("Type", "Action", "Actor")}
    return template.render({**fields, **names, **extra, **times})
