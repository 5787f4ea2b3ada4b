"""What people are told of an update: which figures and states of an object are others now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from swarmlite.manager.store.api import Action, Event
from swarmlite.model import enums, task_states
from swarmlite.proto.objects_pb2 import Node, Service, Task
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import ManagerStatus, NodeRole, NodeStatus, UpdateStatus


def changes(event: Event) -> dict[str, str]:
    """`NAME.old` and `NAME.new` of what an update changed, with Docker's names.

    What is empty on one side is named on the other only.
    """
    shown = _SHOWN.get(event.kind)
    if event.action is not Action.UPDATE or event.old is None or shown is None:
        return {}
    before, now = shown(event.old), shown(event.obj)
    found: dict[str, str] = {}
    for name, value in now.items():
        if value != before[name]:
            found |= {f"{name}.old": before[name], f"{name}.new": value}
    return {name: value for name, value in found.items() if value}


def is_minor(event: Event, changed: Mapping[str, str]) -> bool:
    """Whether an update of a node or task changed nothing that anybody sees or asked for."""
    if changed or event.action is not Action.UPDATE or event.old is None:
        return False
    if isinstance(event.obj, Node):
        assert isinstance(event.old, Node)
        return event.obj.spec == event.old.spec
    return isinstance(event.obj, Task)


def _of_node(node: Node) -> dict[str, str]:
    manages = node.HasField("manager_status")
    reach = node.manager_status.reachability
    return {
        "state": enums.word(NodeStatus.State, node.status.state),
        "availability": enums.word(NodeSpec.Availability, node.spec.availability),
        "role": enums.word(NodeRole, node.role),
        "leader": str(node.manager_status.leader).lower(),
        "reachability": enums.word(ManagerStatus.Reachability, reach) if manages else "",
    }


def _of_service(service: Service) -> dict[str, str]:
    state, spec = service.update_status.state, service.spec
    return {
        "updatestate": enums.word(UpdateStatus.State, state) if state else "",
        "image": spec.task.container.image,
        "replicas": str(spec.replicated.replicas) if spec.HasField("replicated") else "",
    }


def _of_task(task: Task) -> dict[str, str]:
    return {
        "state": task_states.name(task.status.state),
        "desiredstate": task_states.name(task.desired_state),
    }


_SHOWN: Mapping[str, Callable[[Any], dict[str, str]]] = {
    "node": _of_node,
    "service": _of_service,
    "task": _of_task,
}
