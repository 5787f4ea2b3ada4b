"""A task and its image as an OCI runtime specification: what Docker would make of them. Pure."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmlite.engine import process_spec
from swarmlite.errors import InvalidSpec
from swarmlite.model import names
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.specs_pb2 import ContainerSpec, TaskSpec
from swarmlite.proto.types_pb2 import Privileges
from swarmlite.runtime.oci import capabilities
from swarmlite.runtime.oci.defaults import default_spec

CPU_PERIOD_US = 100_000
NANO = 1_000_000_000
TASK_ANNOTATION = "swarmlite.task"
IMAGE_ANNOTATION = "swarmlite.image"
IMAGE_ID_ANNOTATION = "swarmlite.image-id"
NAME_ANNOTATION = "swarmlite.name"
STOP_SIGNAL_ANNOTATION = "swarmlite.stop-signal"


@dataclass(frozen=True)
class Inputs:
    """Everything that a spec is made from. `spec` is the task's with its templates expanded."""

    task: Task
    spec: ContainerSpec
    image: Mapping[str, Any]
    image_id: str
    lower_dirs: Sequence[Path]
    bundle: Path
    container_id: str
    cgroups_path: str
    hostname: str
    netns: Path
    mounts: Sequence[dict[str, Any]]
    host_network: bool = False


def build(inputs: Inputs) -> dict[str, Any]:
    """The OCI spec. Raises InvalidSpec for what cannot be run."""
    base = _base()
    spec = {
        **base,
        "process": _process(inputs, base["process"]),
        "root": {"path": str(inputs.bundle / "rootfs"), "readonly": inputs.spec.read_only},
        "hostname": inputs.hostname,
        "mounts": _merged(base["mounts"], inputs.mounts),
        "annotations": {**base["annotations"], **_annotations(inputs)},
        "linux": _linux(inputs, base["linux"]),
    }
    _privileges(inputs.spec.privileges, spec)
    return spec


@functools.cache
def _base() -> dict[str, Any]:
    """The defaults, shared by all specs and changed by none: a deep copy a task costs too much."""
    return default_spec()


def _process(inputs: Inputs, defaults: dict[str, Any]) -> dict[str, Any]:
    spec, image = inputs.spec, inputs.image
    process = dict(defaults)
    process["terminal"] = spec.tty
    process["args"] = process_spec.arguments(spec, image)
    process["env"] = process_spec.environment(spec, image, inputs.hostname)
    process["cwd"] = process_spec.working_directory(spec, image)
    process["user"] = _user(spec, image)
    process["rlimits"] = process_spec.rlimits(spec)
    kept = process_spec.capabilities(
        capabilities.DEFAULT, spec.capability_add, spec.capability_drop
    )
    process["capabilities"] = _capabilities(kept)
    if spec.oom_score_adj:
        process["oomScoreAdj"] = spec.oom_score_adj
    return process


def _user(spec: ContainerSpec, image: Mapping[str, Any]) -> dict[str, Any]:
    """Names are looked up by the runtime in the container's own files, once it is mounted."""
    user: dict[str, Any] = {"uid": 0, "gid": 0, "username": spec.user or image.get("User") or "0"}
    if spec.groups:
        user["additionalGroups"] = list(spec.groups)
    return user


def _capabilities(kept: Sequence[str]) -> dict[str, list[str]]:
    if "CAP_ALL" in kept:
        kept = capabilities.NAMES
    for name in kept:
        if name not in capabilities.NUMBERS:
            raise InvalidSpec(f"unknown capability {name}")
    return {kind: list(kept) for kind in ("bounding", "effective", "permitted")}


def _merged(
    defaults: Sequence[dict[str, Any]], mounts: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Defaults that the task mounts over give way; parents come before what lies below them."""
    taken = {mount["destination"] for mount in mounts}
    kept = [mount for mount in defaults if mount["destination"] not in taken]
    return kept + sorted(mounts, key=lambda mount: mount["destination"].count("/"))


def _annotations(inputs: Inputs) -> dict[str, str]:
    lower = ":".join(_escaped(path) for path in inputs.lower_dirs)
    upper, work = _escaped(inputs.bundle / "upper"), _escaped(inputs.bundle / "work")
    return {
        **names.container_labels(inputs.task),
        "swarmlite.overlay": f"lowerdir={lower},upperdir={upper},workdir={work}",
        TASK_ANNOTATION: inputs.task.id,
        IMAGE_ANNOTATION: inputs.spec.image,
        IMAGE_ID_ANNOTATION: inputs.image_id,
        NAME_ANNOTATION: names.container_name(inputs.task),
        STOP_SIGNAL_ANNOTATION: str(process_spec.stop_signal(inputs.spec, inputs.image)),
        **({"swarmlite.init": "true"} if inputs.spec.init else {}),
    }


def _escaped(path: Path) -> str:
    """Source: overlayfs.rst; a colon or comma in a path is written with a backslash."""
    return str(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _linux(inputs: Inputs, defaults: dict[str, Any]) -> dict[str, Any]:
    network = {"type": "network", "path": str(inputs.netns)}
    sysctls = defaults["sysctl"].items()
    if inputs.host_network:  # its settings are the host's own
        sysctls = [(name, value) for name, value in sysctls if not name.startswith("net.")]
    return {
        **defaults,
        "cgroupsPath": inputs.cgroups_path,
        "namespaces": [
            network if namespace["type"] == "network" else namespace
            for namespace in defaults["namespaces"]
        ],
        "resources": {**defaults["resources"], **_resources(inputs.task.spec)},
        "sysctl": {**dict(sysctls), **inputs.spec.sysctls},
    }


def _resources(spec: TaskSpec) -> dict[str, Any]:
    limits, reserved = spec.resources.limits, spec.resources.reservations
    resources: dict[str, Any] = {}
    if limits.nano_cpus:
        # The kernel refuses a quota below 1 ms.
        quota = max(limits.nano_cpus * CPU_PERIOD_US // NANO, 1000)
        resources["cpu"] = {"quota": quota, "period": CPU_PERIOD_US}
    memory: dict[str, int] = {}
    if limits.memory_bytes:
        memory["limit"] = limits.memory_bytes
        memory["swap"] = _swap(spec, limits.memory_bytes)
    if reserved.memory_bytes:
        memory["reservation"] = reserved.memory_bytes
    if spec.resources.HasField("memory_swappiness"):
        memory["swappiness"] = spec.resources.memory_swappiness
    if memory:
        resources["memory"] = memory
    if limits.pids:
        resources["pids"] = {"limit": limits.pids}
    return resources


def _swap(spec: TaskSpec, limit: int) -> int:
    """Memory and swap together; as much swap as memory unless it is said otherwise, as Docker."""
    if not spec.resources.HasField("memory_swap_bytes"):
        return 2 * limit
    swap = spec.resources.memory_swap_bytes
    return -1 if swap < 0 else limit + swap


def _privileges(privileges: Privileges, spec: dict[str, Any]) -> None:
    if privileges.no_new_privileges:
        spec["process"]["noNewPrivileges"] = True
    mode = privileges.seccomp.mode
    if mode == Privileges.SeccompOpts.UNCONFINED:
        spec["annotations"]["swarmlite.seccomp"] = "unconfined"
    elif mode == Privileges.SeccompOpts.CUSTOM:
        raise InvalidSpec("a seccomp profile of the service's own is not supported yet")
