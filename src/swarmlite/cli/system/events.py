"""`swarmlite system events` and `swarmlite events`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Queue
from threading import Event, Thread
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
from swarmlite.docker.swarmevent import WITH_TASKS, kinds_of, passes, told
from swarmlite.docker.values import Json
from swarmlite.errors import SwarmliteError
from swarmlite.proto.control_pb2 import WatchRequest
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
    """The host's and the swarm's; where `until` has passed already, in the order of their times."""
    kinds = kinds_of(request.filters, WITH_TASKS)
    if session.node.managers_only:
        # Without kinds the way there says that it leads to no host.
        host = (lambda: _nothing(request)) if kinds else (lambda: _of_host(session, request))
        manager = session.control if kinds else None
    else:
        host, manager = (lambda: _of_host(session, request)), _manager(session) if kinds else None
    events = _merged(host, manager, request, kinds)
    over = request.HasField("until") and request.until.ToNanoseconds() <= time.time_ns()
    yield from sorted(events, key=lambda one: one.time.ToNanoseconds()) if over else events


def _of_host(session: Session, request: EventsRequest) -> Iterator[HostEvent]:
    yield from client.stream(session.host.Events(request))


def _nothing(request: EventsRequest) -> Iterator[HostEvent]:
    """The events of no host: it ends as the stream of one does."""
    left_s = request.until.ToNanoseconds() / 1e9 - time.time()
    Event().wait(max(left_s, 0.0) if request.HasField("until") else None)
    yield from ()


def _merged(
    host: Callable[[], Iterable[HostEvent]],
    manager: Any,
    request: EventsRequest,
    kinds: Sequence[str],
) -> Iterator[HostEvent]:
    """Until the host's have ended, and what the manager remembers has been told."""
    queue: Queue[HostEvent | BaseException | None] = Queue()
    _begin(host, queue)
    waits = 1
    if manager is not None:
        waits = 2 if request.HasField("since") else 1
        _begin(lambda: _kept_up(manager, request, kinds), queue)
    while waits:
        one = queue.get()
        if isinstance(one, BaseException):
            raise one
        if one is None:
            waits -= 1
        else:
            yield one


def _manager(session: Session) -> Any:
    """None where there is none, or it does not answer: the host's own events are told then."""
    try:
        return session.manager
    except SwarmliteError as error:
        click.echo(f"events of the swarm are left out: {error}", err=True)
        return None


def _begin(
    events: Callable[[], Iterable[HostEvent | None]],
    queue: Queue[HostEvent | BaseException | None],
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


def _kept_up(
    manager: Any, request: EventsRequest, kinds: Sequence[str]
) -> Iterator[HostEvent | None]:
    """The swarm's without end, and None once, after the past where `since` asks for it: a manager
    that starts again is watched again.
    """
    asked = WatchRequest(kinds=kinds)
    if request.HasField("since"):
        asked.since.CopyFrom(request.since)
    while True:
        past = asked.HasField("since")
        try:
            for one in _of_swarm(manager, asked, request):
                if one is not None:
                    yield one
                elif past:
                    past = False
                    asked.ClearField("since")
                    yield None
        except SwarmliteError as error:
            click.echo(f"events of the swarm are left out meanwhile: {error}", err=True)
        if past:
            asked.ClearField("since")
            yield None
        time.sleep(AGAIN_S)


def _of_swarm(
    manager: Any, asked: WatchRequest, request: EventsRequest
) -> Iterator[HostEvent | None]:
    """Of one watch; None where the past ends."""
    until_ns = request.until.ToNanoseconds() if request.HasField("until") else None
    for response in client.stream(manager.Watch(asked)):
        if not response.events:
            yield None
        for each in response.events:
            body = told(each)
            if body is None or not passes(body, each, request.filters):
                continue
            if until_ns is None or body["timeNano"] <= until_ns:
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
