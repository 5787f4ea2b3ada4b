"""Fields of a service's spec that an older client cannot mean: they are not heard from it.

As Docker's server does; a row names the field of our message and the first 1.minor that has it.
"""

from __future__ import annotations

from google.protobuf.message import Message

from swarmlite.proto.specs_pb2 import ServiceSpec

SINCE = {
    "task.resources.memory_swap_bytes": 52,
    "task.resources.memory_swappiness": 52,
    "task.container.mounts.tmpfs_options.options": 46,
    "task.container.oom_score_adj": 46,
    "task.container.privileges.seccomp": 44,
    "task.container.privileges.apparmor": 44,
    "task.container.privileges.no_new_privileges": 44,
    "task.container.healthcheck.start_interval": 44,
    "task.container.capability_add": 41,
    "task.container.capability_drop": 41,
    "task.container.ulimits": 41,
    "task.resources.limits.pids": 41,
    "replicated_job": 41,
    "global_job": 41,
    "task.container.sysctls": 40,
    "task.container.privileges.credential_spec.config": 40,
    "task.container.configs.runtime": 40,
    "task.placement.max_replicas": 40,
}
LEGACY_NETWORKS_UNTIL = 43
"""The last 1.minor in which Networks of the service itself are read where the task has none."""


def as_meant(spec: ServiceSpec, minor: int) -> ServiceSpec:
    """`spec` without what a client of 1.`minor` cannot mean; changed in place."""
    for path, since in SINCE.items():
        if minor < since:
            _clear(spec, path.split("."))
    if spec.WhichOneof("mode") is None:
        spec.replicated.replicas = 1
    return spec


def _clear(message: Message, path: list[str]) -> None:
    name, *rest = path
    if not rest:
        message.ClearField(name)
        return
    value = getattr(message, name)
    if not isinstance(value, Message):
        for item in value:
            _clear(item, rest)
    elif message.HasField(name):
        _clear(value, rest)
