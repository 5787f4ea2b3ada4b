"""A task as the engine's configuration of its container. Pure."""

from __future__ import annotations

from swarmlite.model import generic_resources, names
from swarmlite.proto.containers_pb2 import ContainerConfig, ContainerResources, TaskOwner
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import PortConfig, ResourceRequirements


def configuration(task: Task, spec: ContainerSpec) -> ContainerConfig:
    """`spec` is the task's with its templates expanded."""
    config = ContainerConfig(
        name=names.container_name(task),
        spec=spec,
        resources=resources(task.spec.resources),
        ports=[port for port in task.endpoint.ports if port.publish_mode == PortConfig.HOST],
        task=TaskOwner(
            task_id=task.id,
            service_id=task.service_id,
            node_id=task.node_id,
            attachments=task.networks,
        ),
    )
    if task.log_driver.name or task.spec.HasField("log_driver"):
        chosen = task.log_driver if task.log_driver.name else task.spec.log_driver
        config.log_driver.CopyFrom(chosen)
    config.spec.env.extend(generic_resources.environment(task.assigned_generic_resources))
    config.spec.ClearField("pull_options")
    config.spec.labels.clear()
    config.spec.labels.update(names.container_labels(task))
    config.spec.ClearField("secrets")  # the agent writes them, and names their files as mounts
    config.spec.ClearField("configs")
    return config


def resources(asked: ResourceRequirements) -> ContainerResources:
    """Limits and reservations. Swarm's swap is beside the memory, the engine's holds both."""
    limits = asked.limits
    result = ContainerResources(
        nano_cpus=limits.nano_cpus,
        memory_bytes=limits.memory_bytes,
        memory_reservation_bytes=asked.reservations.memory_bytes,
        pids_limit=limits.pids,
    )
    result.cpuset_cpus, result.cpu_shares = asked.cpuset_cpus, asked.cpu_shares
    if asked.HasField("memory_swap_bytes") and limits.memory_bytes:
        swap = asked.memory_swap_bytes
        result.memory_swap_bytes = -1 if swap < 0 else limits.memory_bytes + swap
    if asked.HasField("memory_swappiness"):
        result.memory_swappiness = asked.memory_swappiness
    return result
