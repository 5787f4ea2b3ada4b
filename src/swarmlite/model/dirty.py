"""Whether a task was made from what its service now says."""

from __future__ import annotations

from collections.abc import Sequence

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
    left_out = ["pull_options"] if has_image(task) else []
    if left_out and _without(task.spec, left_out) == _without(service.spec.task, left_out):
        return False
    left_out.append("placement")
    return not (
        node is not None
        and _without(task.spec, left_out) == _without(service.spec.task, left_out)
        and fits(service.spec.task, node)
    )


def has_image(task: Task) -> bool:
    """Whether the task has pulled its image, and lives."""
    return task_states.READY <= task.status.state <= task_states.RUNNING


def restarts(before: ServiceSpec, after: ServiceSpec) -> bool:
    """Whether a change of a service replaces its tasks; one of placement only where it must."""
    if before.endpoint != after.endpoint:
        return True
    left_out = ["placement", "pull_options"]
    return _without(before.task, left_out) != _without(after.task, left_out)


def _without(spec: TaskSpec, fields: Sequence[str]) -> TaskSpec:
    """A copy without these fields, of a task and of its container."""
    copy = TaskSpec()
    copy.CopyFrom(spec)
    for field in fields:
        part = copy if field in copy.DESCRIPTOR.fields_by_name else copy.container
        part.ClearField(field)  # type: ignore[arg-type]  # of the two that there are
    return copy


def fits(spec: TaskSpec, node: Node) -> bool:
    """Whether `node` satisfies the constraints of `spec`, and allows what it needs of the host."""
    if permissions.missing(permissions.needed(spec.container), node):
        return False
    return constraints.matches(constraints.parse(spec.placement.constraints), node)
