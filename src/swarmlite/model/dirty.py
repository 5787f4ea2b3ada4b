"""Whether a task was made from what its service now says."""

from __future__ import annotations

from swarmlite.proto.objects_pb2 import Node, Service, Task
from swarmlite.proto.specs_pb2 import ServiceSpec, TaskSpec

from . import constraints, permissions


def is_task_dirty(service: Service, task: Task, node: Node | None = None) -> bool:
    """Whether `task` has to be replaced for `service`: its task spec or its endpoint differs.

    Changing only the placement replaces nothing on a node that still satisfies it: give the
    node where it is known.
    """
    if task.spec_version.index and task.spec_version == service.spec_version:
        return False
    if task.HasField("endpoint") and task.endpoint.spec != service.spec.endpoint:
        return True
    if task.spec == service.spec.task:
        return False
    return not (
        node is not None
        and _without_placement(task.spec) == _without_placement(service.spec.task)
        and fits(service.spec.task, node)
    )


def restarts(before: ServiceSpec, after: ServiceSpec) -> bool:
    """Whether a change of a service replaces its tasks; one of placement only where it must."""
    if before.endpoint != after.endpoint:
        return True
    return _without_placement(before.task) != _without_placement(after.task)


def _without_placement(spec: TaskSpec) -> TaskSpec:
    copy = TaskSpec()
    copy.CopyFrom(spec)
    copy.ClearField("placement")
    return copy


def fits(spec: TaskSpec, node: Node) -> bool:
    """Whether `node` satisfies the constraints of `spec`, and allows what it needs of the host."""
    if permissions.missing(permissions.needed(spec.container), node):
        return False
    return constraints.matches(constraints.parse(spec.placement.constraints), node)
