"""Events of a host and its swarm in one stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmlite.cli import client
from swarmlite.cli.session import Session
from swarmlite.cli.system import events
from swarmlite.errors import Unavailable
from swarmlite.proto.control_pb2 import WatchRequest, WatchResponse
from swarmlite.proto.host_pb2 import EventsRequest, HostEvent


def test_a_manager_that_starts_again_is_watched_again_and_the_hosts_events_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, over = threading.Event(), threading.Event()
    lives = iter([Unavailable("it went away"), None, HostEvent(type="service")])

    def of_swarm(*_: Any) -> Iterator[HostEvent]:
        life = next(lives)
        if isinstance(life, Unavailable):
            raise life
        if life is not None:
            yield life
            told.set()
            over.wait()

    def of_host(*_: Any) -> Iterator[HostEvent]:
        yield HostEvent(type="container")
        told.wait()

    monkeypatch.setattr(events, "_of_swarm", of_swarm)
    monkeypatch.setattr(events, "AGAIN_S", 0.0)
    monkeypatch.setattr(client, "stream", lambda call: call)
    host = SimpleNamespace(Events=of_host)
    node = SimpleNamespace(managers_only=False)
    session = cast(Session, SimpleNamespace(manager=object(), host=host, node=node))
    try:
        heard = {one.type for one in events._all(session, EventsRequest())}
    finally:
        over.set()
    assert heard == {"container", "service"}


class Manager:
    """It remembers these, and has nothing new; the first watches end before they begin."""

    def __init__(self, *times_ns: int, failing: int = 0) -> None:
        self.past = WatchResponse()
        self.failing, self.asked = failing, list[WatchRequest]()
        for at in times_ns:
            self.past.events.add(service={"id": f"s{at}"}).time.FromNanoseconds(at)

    def Watch(self, request: WatchRequest) -> Iterator[WatchResponse]:
        asked = WatchRequest()
        asked.CopyFrom(request)
        self.asked.append(asked)
        if len(self.asked) <= self.failing:
            raise Unavailable("it went away")
        if request.HasField("since"):
            yield self.past
        yield WatchResponse()
        threading.Event().wait()


def told(
    monkeypatch: pytest.MonkeyPatch, manager: Manager, host: list[int] | None, **times: int
) -> list[tuple[str, int]]:
    """What the command tells: the type and time of each."""
    monkeypatch.setattr(events, "AGAIN_S", 0.0)
    monkeypatch.setattr(client, "stream", lambda call: call)
    request = EventsRequest()
    for name, at in times.items():
        getattr(request, name).FromNanoseconds(at)

    def of_host(*_: Any) -> Iterator[HostEvent]:
        for at in host or ():
            made = HostEvent(type="container")
            made.time.FromNanoseconds(at)
            yield made

    session = SimpleNamespace(
        manager=manager,
        control=manager,
        host=SimpleNamespace(Events=of_host),
        node=SimpleNamespace(managers_only=host is None),
    )
    return [(e.type, e.time.ToNanoseconds()) for e in events._all(cast(Session, session), request)]


def test_the_past_of_the_swarm_and_of_the_host_is_one_list_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Although the host has told all of its own at once, and nothing after `until`."""
    assert told(monkeypatch, Manager(2, 4, 9), [1, 3], since=1, until=5) == [
        ("container", 1), ("service", 2), ("container", 3), ("service", 4),
    ]  # fmt: skip


def test_the_past_is_told_by_managers_alone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, Manager(2, 4), None, since=1, until=5) == [
        ("service", 2), ("service", 4),
    ]  # fmt: skip


def test_a_manager_that_does_not_answer_keeps_nobody_waiting_for_its_past(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager = Manager(2, failing=1)
    assert told(monkeypatch, manager, [1], since=1, until=5) == [("container", 1)]
    assert manager.asked[0].HasField("since")


def test_without_since_nothing_of_the_past_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, Manager(2), [1], until=5) == [("container", 1)]
