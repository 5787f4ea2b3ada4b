"""Making tasks: one template a service and version, copied for each place."""

from __future__ import annotations

from swarmlite.ids import new_id
from swarmlite.model.names import task_name
from swarmlite.model.task_states import NEW, PENDING, READY, RUNNING
from swarmlite.proto.objects_pb2 import Cluster, Service, Task
from swarmlite.proto.types_pb2 import TaskState

from ..times import stamp


def template(service: Service, cluster: Cluster | None) -> Task:
    """What every new task of this service has in common."""
    task = Task(service_id=service.id, desired_state=RUNNING)
    task.spec.CopyFrom(service.spec.task)
    task.spec_version.CopyFrom(service.spec_version)
    task.service_annotations.CopyFrom(service.spec.annotations)
    if task.spec.HasField("log_driver"):
        task.log_driver.CopyFrom(task.spec.log_driver)
    elif cluster is not None and cluster.spec.task_defaults.HasField("log_driver"):
        task.log_driver.CopyFrom(cluster.spec.task_defaults.log_driver)
    if service.spec.WhichOneof("mode") in ("replicated_job", "global_job"):
        task.job_iteration.index = service.job_status.job_iteration
    # Without addresses and ports there is nothing to wait for: one write a task less, in four.
    allocated = not (service.spec.task.networks or service.spec.endpoint.ports)
    task.status.state = PENDING if allocated else NEW
    task.status.message = "pending task scheduling" if allocated else "created"
    task.status.healthy = True
    return task


def new_task(
    service_template: Task,
    key: int | str,
    now: float,
    desired: TaskState.ValueType = RUNNING,
) -> Task:
    """A task for one place: a slot from 1, or the id of a node."""
    task = Task()
    task.CopyFrom(service_template)
    task.id = new_id()
    if isinstance(key, int):
        task.slot = key
    else:
        task.node_id = key
    task.annotations.name = task_name(
        service_template.service_annotations.name, task.slot, task.node_id, task.id
    )
    task.desired_state = desired
    stamp(task.status.timestamp, now)
    return task


def held_back(service_template: Task, key: int | str, now: float) -> Task:
    """A task that is prepared on its node and waits to be started."""
    return new_task(service_template, key, now, READY)
