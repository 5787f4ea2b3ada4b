"""The names of tasks, containers and endpoints, and the labels that tie a container to its task."""

from __future__ import annotations

from swarmlite.proto.objects_pb2 import Task


def task_name(service_name: str, slot: int, node_id: str, task_id: str) -> str:
    """A task's full name: "web.1.<task id>"; of a global service "web.<node id>.<task id>"."""
    return f"{service_name}.{slot or node_id}.{task_id}"


def short_task_name(task: Task) -> str:
    """A task's name as `service ps` prints it: "web.1" or "web.<node id>"."""
    if not task.service_annotations.name:
        return task.annotations.name or task.id
    return f"{task.service_annotations.name}.{task.slot or task.node_id}"


def full_task_name(task: Task) -> str:
    """A task's full name from nothing but the task."""
    if not task.service_annotations.name:
        return task.annotations.name or task.id
    return task_name(task.service_annotations.name, task.slot, task.node_id, task.id)


def container_name(task: Task) -> str:
    """The name of a task's container."""
    return full_task_name(task)


def endpoint_id(container_id: str, network_id: str) -> str:
    """The id of a container's place on a network, the same whoever is asked."""
    import hashlib  # here: commands load this module, and do not need that

    return hashlib.sha256(f"{container_id}/{network_id}".encode()).hexdigest()


def container_labels(task: Task) -> dict[str, str]:
    """The labels of a task's container: the user's, then those of the swarm, which win."""
    labels = dict(task.spec.container.labels)
    labels.update(
        {
            "com.docker.swarm.node.id": task.node_id,
            "com.docker.swarm.service.id": task.service_id,
            "com.docker.swarm.service.name": task.service_annotations.name,
            "com.docker.swarm.task": "",
            "com.docker.swarm.task.id": task.id,
            "com.docker.swarm.task.name": full_task_name(task),
        }
    )
    return labels


def free_service_name() -> str:
    """For who gives a service none; two words and a number, so that people can say it."""
    import secrets

    first = ("able", "brisk", "calm", "deft", "eager", "fair", "keen", "merry", "quick", "sunny")
    second = ("auk", "bee", "crane", "dove", "finch", "heron", "lark", "otter", "swan", "wren")
    return f"{secrets.choice(first)}_{secrets.choice(second)}{secrets.randbelow(1000)}"
