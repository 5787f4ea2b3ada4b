"""Events of the swarm's objects, as Docker tells them: what a watch of the managers says."""

from __future__ import annotations

from swarmlite.docker.values import Json
from swarmlite.proto.control_pb2 import CREATE, REMOVE, WatchResponse
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import NodeRole, NodeStatus, UpdateStatus

KINDS = ("service", "node", "secret", "config", "network")


class SwarmEvents:
    """What changed from one state of an object to the next; one a stream."""

    def __init__(self) -> None:
        """Nothing is known of any object."""
        self._known: dict[str, dict[str, str]] = {}

    def seen(self, node: Node) -> None:
        """How a node was when the stream began."""
        self._known[node.id] = _of_node(node)

    def body(self, event: WatchResponse.Event, time_ns: int) -> Json | None:
        """One event; None for a change that Docker does not tell, as of a node's heartbeat."""
        kind = event.WhichOneof("object") or ""
        if kind not in KINDS:
            return None
        value = getattr(event, kind)
        name = value.spec.annotations.name
        attributes = {"name": name}
        action = "create" if event.action == CREATE else "update"
        if event.action == REMOVE:
            action = "remove"
            self._known.pop(value.id, None)
        elif kind in ("node", "service"):
            state = _of_node(value) if kind == "node" else _of_update(value.update_status)
            before = self._known.get(value.id)
            self._known[value.id] = state
            if kind == "node" and action == "update" and before == state:
                return None
            attributes |= _changed(before or {}, state) if action == "update" else {}
        if kind == "node":
            attributes["name"] = value.description.hostname
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
        "state": NodeStatus.State.Name(node.status.state).lower(),
        "availability": NodeSpec.Availability.Name(node.spec.availability).lower(),
        "role": NodeRole.Name(node.role).lower(),
        "leader": str(node.manager_status.leader).lower(),
    }


def _of_update(status: UpdateStatus) -> dict[str, str]:
    state = UpdateStatus.State.Name(status.state).lower() if status.state else ""
    return {"updatestate": state}


def _changed(before: dict[str, str], now: dict[str, str]) -> dict[str, str]:
    found = {}
    for key, value in now.items():
        if before.get(key, value) != value or (key not in before and value):
            found[f"{key}.new"] = value
            if before.get(key):
                found[f"{key}.old"] = before[key]
    return found
