"""Events of the swarm's objects, as Docker tells them: what a watch of the managers says.

Docker tells none of tasks; ours have its shape, and come where they are asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from swarmlite.docker.values import Json
from swarmlite.proto.control_pb2 import CREATE, REMOVE, UPDATE, Filter, WatchResponse
from swarmlite.proto.objects_pb2 import Node, Task

KINDS = ("service", "node", "secret", "config", "network")
WITH_TASKS = (*KINDS, "task")
_ELSEWHERE = ("container", "image", "volume", "daemon", "plugin")
"""Filters by what only a host has."""
_ACTIONS = {CREATE: "create", UPDATE: "update", REMOVE: "remove"}


def kinds_of(filters: Iterable[Filter], kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `kinds` that the filters leave, and tasks where they name them; none: no watch."""
    for each in filters:
        if each.key == "scope" and "swarm" not in each.values:
            return ()
        if each.key in _ELSEWHERE:
            return ()
        if each.key == "type":
            kinds = tuple(kind for kind in WITH_TASKS if kind in each.values)
    return kinds


def passes(body: Json, event: WatchResponse.Event, filters: Iterable[Filter]) -> bool:
    """Whether an event passes every filter."""
    value = getattr(event, body["Type"])
    return all(_holds(body, value, each) for each in filters)


def _holds(body: Json, value: Any, each: Filter) -> bool:
    if each.key == "type":
        return body["Type"] in each.values
    if each.key == "event":
        return body["Action"] in each.values
    if each.key == "label":
        labels = _annotations(value).labels
        return all(_label(labels, text) for text in each.values)
    if each.key not in WITH_TASKS:
        return True  # scope, which has been looked at
    if body["Type"] == "task" and each.key in ("service", "node"):
        own = value.service_id if each.key == "service" else value.node_id
        names = (value.service_annotations.name,) if each.key == "service" else ()
        return any(text in names or (text and own.startswith(text)) for text in each.values)
    return body["Type"] == each.key and any(
        text == body["Actor"]["Attributes"]["name"] or value.id.startswith(text)
        for text in each.values
    )


def _annotations(value: Any) -> Any:
    return value.service_annotations if isinstance(value, Task) else value.spec.annotations


def _label(labels: Any, text: str) -> bool:
    name, equals, wanted = text.partition("=")
    return name in labels and (not equals or labels[name] == wanted)


def told(event: WatchResponse.Event) -> Json | None:
    """One event; None for a change that nobody is told, as of a task's addresses."""
    kind = event.WhichOneof("object") or ""
    if kind not in WITH_TASKS or event.minor:
        return None
    value = getattr(event, kind)
    attributes = {"name": _name(value), **event.changes}
    if kind == "task":
        attributes |= {"service": value.service_id, "node": value.node_id}
    if kind == "network":
        attributes["type"] = value.spec.driver.name or "overlay"
    # Managers of earlier releases name no time.
    time_ns = event.time.ToNanoseconds() or time.time_ns()
    return {
        "Type": kind,
        "Action": _ACTIONS[event.action],
        "Actor": {"ID": value.id, "Attributes": attributes},
        "scope": "swarm",
        "time": time_ns // 1_000_000_000,
        "timeNano": time_ns,
    }


def _name(value: Any) -> str:
    if isinstance(value, Task):
        return value.annotations.name
    if isinstance(value, Node):
        return value.description.hostname
    return str(value.spec.annotations.name)
