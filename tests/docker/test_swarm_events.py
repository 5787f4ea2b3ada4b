"""What the swarm's events say, of what a watch tells; and which of them filters leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmlite.docker.swarmevent import KINDS, WITH_TASKS, kinds_of, passes, told
from swarmlite.gateway.request import Call
from swarmlite.gateway.routes import events
from swarmlite.model import task_states
from swarmlite.proto.control_pb2 import UPDATE, Filter, WatchRequest, WatchResponse
from swarmlite.proto.objects_pb2 import Node, Service, Task


def task() -> Task:
    made = Task(id="t1", service_id="s1", node_id="n1", slot=1)
    made.annotations.name = "web.1.t1"
    made.service_annotations.name = "web"
    made.status.state = task_states.RUNNING
    return made


def test_a_task_s_event_names_its_service_and_node_and_what_changed() -> None:
    changes = {"state.old": "assigned", "state.new": "running"}
    event = WatchResponse.Event(action=UPDATE, task=task(), changes=changes)
    event.time.FromNanoseconds(5)
    body = told(event)
    assert body is not None
    assert (body["Type"], body["Action"], body["scope"]) == ("task", "update", "swarm")
    assert (body["time"], body["timeNano"]) == (0, 5)
    assert body["Actor"]["Attributes"] == {
        "name": "web.1.t1", "service": "s1", "node": "n1",
        "state.old": "assigned", "state.new": "running",
    }  # fmt: skip
    assert passes(body, event, [Filter(key="service", values=["web"])])
    assert passes(body, event, [Filter(key="node", values=["n1"]), Filter(key="scope")])
    assert not passes(body, event, [Filter(key="service", values=["db"])])


def test_nobody_is_told_of_a_minor_update() -> None:
    assert told(WatchResponse.Event(action=UPDATE, node=Node(id="n1"), minor=True)) is None


def test_every_label_of_a_filter_must_be_there() -> None:
    service = Service(id="s1")
    service.spec.annotations.labels.update(a="1", b="2")
    event = WatchResponse.Event(action=UPDATE, service=service)
    body = told(event)
    assert body is not None
    assert passes(body, event, [Filter(key="label", values=["a", "b=2"])])
    assert not passes(body, event, [Filter(key="label", values=["a", "c"])])


def test_dockers_clients_hear_of_tasks_only_when_they_ask() -> None:
    assert kinds_of([], KINDS) == KINDS
    assert kinds_of([], WITH_TASKS) == WITH_TASKS
    assert kinds_of([Filter(key="type", values=["task"])], KINDS) == ("task",)
    assert kinds_of([Filter(key="type", values=["container"])], KINDS) == ()
    assert kinds_of([Filter(key="scope", values=["local"])], KINDS) == ()


async def test_the_past_has_been_told_however_the_watch_ends() -> None:
    """The stream's end waits for it: here of managers that tell what this release does not know."""

    async def watch(_: WatchRequest) -> AsyncIterator[WatchResponse]:
        response = WatchResponse()
        response.events.add(action=cast(Any, 99), service=Service(id="s1"))
        yield response

    backends = SimpleNamespace(manager=SimpleNamespace(Watch=watch))
    call, past_told = cast(Call, SimpleNamespace(backends=backends)), asyncio.Event()
    with pytest.raises(KeyError):
        await events._of_swarm(call, WatchRequest(), (), asyncio.Queue(), past_told)
    assert past_told.is_set()
