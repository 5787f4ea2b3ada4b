"""Whether a task was made from what its service now says."""

from __future__ import annotations

from swarmlite.proto.objects_pb2 import Node, Service, Task
from swarmlite.proto.specs_pb2 import ServiceSpec, TaskSpec

from . import constraints, permissions, task_states


def is_task_dirty(service: Service, task: Task, node: Node | None = None) -> bool:
    """Whether `task` has to be replaced for `service`: its task spec or its endpoint differs.

    Changing only the placement replaces nothing on a node that still satisfies it: give the
    node where it is known. Credentials to pull an image with are nothing to a task that has it.
    """
    if task.spec_version.index and task.spec_version == service.spec_version:
        return False
    if task.HasField("endpoint") and task.endpoint.spec != service.spec.endpoint:
        return True
    if task.spec == service.spec.task:
        return False
    pulled = has_image(task)
    if pulled and _without(task.spec, pulled=True) == _without(service.spec.task, pulled=True):
        return False
    return not (
        node is not None
        and _without(task.spec, pulled=pulled, placed=True)
        == _without(service.spec.task, pulled=pulled, placed=True)
        and fits(service.spec.task, node)
    )


def has_image(task: Task) -> bool:
    """Whether the task has pulled its image, and lives."""
    return task_states.READY <= task.status.state <= task_states.RUNNING


def restarts(before: ServiceSpec, after: ServiceSpec) -> bool:
    """Whether a change of a service replaces its tasks; one of placement only where it must."""
    if before.endpoint != after.endpoint:
        return True
    first, second = (_without(spec.task, pulled=True, placed=True) for spec in (before, after))
    return first != second


def _without(spec: TaskSpec, *, pulled: bool, placed: bool = False) -> TaskSpec:
    """A copy without what is nothing to a task that has `pulled` its image, or has a place."""
    copy = TaskSpec()
    copy.CopyFrom(spec)
    if pulled:
        copy.container.ClearField("pull_options")
    if placed:
        copy.ClearField("placement")
    return copy


def fits(spec: TaskSpec, node: Node) -> bool:
    """Whether `node` satisfies the constraints of `spec`, and allows what it needs of the host."""
    if permissions.missing(permissions.needed(spec.container), node):
        return False
    return constraints.matches(constraints.parse(spec.placement.constraints), node)
