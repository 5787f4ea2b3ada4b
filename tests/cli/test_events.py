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
