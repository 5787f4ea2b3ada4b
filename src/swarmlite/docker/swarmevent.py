"""Events of the swarm's objects, as Docker tells them: what a watch of the managers says.

Docker tells none of tasks; ours have its shape, and come where they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swarmlite.docker.values import Json
from swarmlite.model import enums, task_states
from swarmlite.proto.control_pb2 import CREATE, REMOVE, Filter, WatchResponse
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeRole, NodeStatus, UpdateStatus

KINDS = ("service", "node", "secret", "config", "network")
WITH_TASKS = (*KINDS, "task")
_ELSEWHERE = ("container", "image", "volume", "daemon", "plugin")
"""Filters by what only a host has."""


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
        return any(_label(labels, text) for text in each.values)
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


class SwarmEvents:
    """What changed from one state of an object to the next; one a stream."""

    def __init__(self) -> None:
        """Nothing is known of any object."""
        self._known: dict[str, dict[str, str]] = {}

    def seen(self, value: Node | Task) -> None:
        """How a node or a task was when the stream began."""
        self._known[value.id] = _of_node(value) if isinstance(value, Node) else _of_task(value)

    def body(self, event: WatchResponse.Event, time_ns: int) -> Json | None:
        """One event; None for a change that Docker does not tell, as of a node's heartbeat."""
        kind = event.WhichOneof("object") or ""
        if kind not in WITH_TASKS:
            return None
        value = getattr(event, kind)
        name = value.annotations.name if kind == "task" else value.spec.annotations.name
        attributes = {"name": name}
        action = "create" if event.action == CREATE else "update"
        if event.action == REMOVE:
            action = "remove"
            self._known.pop(value.id, None)
        elif kind in _STATES:
            state = _STATES[kind](value)
            before = self._known.get(value.id)
            self._known[value.id] = state
            if kind in ("node", "task") and action == "update" and before == state:
                return None
            attributes |= _changed(before or {}, state) if action == "update" else {}
        if kind == "node":
            attributes["name"] = value.description.hostname
        if kind == "task":
            attributes |= {"service": value.service_id, "node": value.node_id}
        if kind == "network":
            attributes["type"] = value.spec.driver.name or "overlay"
        return {
            "Type": kind,
            "Action": action,
            "Actor": {"ID": value.id, "Attributes": attributes},
            "scope": "swarm",
            "time": time_ns // 1_000_000_000,
            "timeNano": time_ns,
        }


def _of_node(node: Node) -> dict[str, str]:
    return {
        "state": enums.word(NodeStatus.State, node.status.state),
        "availability": enums.word(NodeSpec.Availability, node.spec.availability),
        "role": enums.word(NodeRole, node.role),
        "leader": str(node.manager_status.leader).lower(),
    }


def _of_task(task: Task) -> dict[str, str]:
    return {
        "state": task_states.name(task.status.state),
        "desiredstate": task_states.name(task.desired_state),
    }


def _of_update(status: UpdateStatus) -> dict[str, str]:
    state = enums.word(UpdateStatus.State, status.state) if status.state else ""
    return {"updatestate": state}


def _changed(before: dict[str, str], now: dict[str, str]) -> dict[str, str]:
    found = {}
    for key, value in now.items():
        if before.get(key, value) != value or (key not in before and value):
            found[f"{key}.new"] = value
            if before.get(key):
                found[f"{key}.old"] = before[key]
    return found


_STATES: dict[str, Callable[[Any], dict[str, str]]] = {
    "node": _of_node,
    "service": lambda service: _of_update(service.update_status),
    "task": _of_task,
}
"""What of an object its updates are told by; those of others, by each write."""
