"""A container's plan on its way to the process that carries it out, as bytes.

The forking process knows nothing of plans; who it has made is told what to become. Only types that
marshal knows travel, so what arrives is data and no code.
"""

from __future__ import annotations

import marshal

from swarmlite.runtime.oci.mounts import Mount
from swarmlite.runtime.oci.namespaces import Namespaces
from swarmlite.runtime.seccomp.cache import Filter
from swarmlite.runtime.supervisor.plan import Plan, ProcessPlan

HEADER = 8  # flags of the namespaces that are still to be made
MAX_BYTES = 64 << 10  # what a message holds on every kernel; a larger plan takes the other way
#: What only the parent wants to know of a plan.
LEFT_OUT = ("warnings", "hooks", "resources", "cgroup_path")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    State = dict[str, object]


class Job:
    """What goes beside the descriptors: three of stdio, then those of the cgroup."""

    def __init__(self, plan: Plan, cgroup_binds: list[tuple[str, str]]) -> None:
        self.plan, self.cgroup_binds = plan, cgroup_binds


def pack(job: Job) -> bytes:
    """Raises ValueError for what cannot travel."""
    plan = job.plan
    state: State = {name: value for name, value in vars(plan).items() if name not in LEFT_OUT}
    state["namespaces"] = vars(plan.namespaces)
    state["mounts"] = [[getattr(mount, name) for name in Mount.__slots__] for mount in plan.mounts]
    if plan.process is not None:
        process = dict(vars(plan.process))
        chosen = plan.process.filter
        if chosen is not None:
            process["filter"] = chosen.code, chosen.flags, chosen.lets_fork, chosen.lets_drop
        state["process"] = process
    return marshal.dumps((state, job.cgroup_binds))


def unpack(data: bytes) -> Job:
    """What was packed."""
    state, cgroup_binds = marshal.loads(data)
    state["namespaces"] = _fill(Namespaces, state["namespaces"])
    state["mounts"] = [_mount(values) for values in state["mounts"]]
    process = state["process"]
    if process is not None:
        if process["filter"] is not None:
            process["filter"] = Filter(*process["filter"])
        state["process"] = _fill(ProcessPlan, process)
    return Job(_fill(Plan, state), cgroup_binds)


def _fill(kind: type, state: State) -> Any:
    made: Any = object.__new__(kind)
    vars(made).update(state)
    return made


def _mount(values: list[object]) -> Mount:
    made = object.__new__(Mount)
    for name, value in zip(Mount.__slots__, values, strict=True):
        setattr(made, name, value)
    return made
