"""What a process is to become, on its way to the one that becomes it, as bytes.

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
    """A container's first process. Its descriptors: three of stdio, then those of the cgroup."""

    def __init__(self, plan: Plan, cgroup_binds: list[tuple[str, str]]) -> None:
        self.plan, self.cgroup_binds = plan, cgroup_binds


class ExecJob:
    """One process more: the arguments of ExecChild of these names.

    Its descriptors: three of stdio, the container, the Handover's memory, then the cgroup's.
    """

    def __init__(
        self, process: ProcessPlan, namespace_flags: int, filtered: bool, spawns: bool
    ) -> None:
        self.process, self.namespace_flags = process, namespace_flags
        self.filtered, self.spawns = filtered, spawns


def pack(job: Job | ExecJob) -> bytes:
    """Raises ValueError for what cannot travel."""
    if isinstance(job, ExecJob):
        process = _process_state(job.process)
        return marshal.dumps((process, job.namespace_flags, job.filtered, job.spawns))
    plan = job.plan
    state: State = {name: value for name, value in vars(plan).items() if name not in LEFT_OUT}
    state["namespaces"] = vars(plan.namespaces)
    state["mounts"] = [[getattr(mount, name) for name in Mount.__slots__] for mount in plan.mounts]
    if plan.process is not None:
        state["process"] = _process_state(plan.process)
    return marshal.dumps((state, job.cgroup_binds))


def unpack(data: bytes) -> Job | ExecJob:
    """What was packed."""
    state, *rest = marshal.loads(data)
    if len(rest) == 3:
        return ExecJob(_process(state), *rest)
    state["namespaces"] = _fill(Namespaces, state["namespaces"])
    state["mounts"] = [_mount(values) for values in state["mounts"]]
    if state["process"] is not None:
        state["process"] = _process(state["process"])
    return Job(_fill(Plan, state), *rest)


def _process_state(plan: ProcessPlan) -> State:
    state = dict(vars(plan))
    chosen = plan.filter
    if chosen is not None:
        state["filter"] = (
            chosen.code, chosen.flags, chosen.lets_fork, chosen.lets_drop, chosen.lets_spawn,
        )  # fmt: skip
    return state


def _process(state: State) -> ProcessPlan:
    chosen: Any = state["filter"]
    if chosen is not None:
        state["filter"] = Filter(*chosen)
    made: ProcessPlan = _fill(ProcessPlan, state)
    return made


def _fill(kind: type, state: State) -> Any:
    made: Any = object.__new__(kind)
    vars(made).update(state)
    return made


def _mount(values: list[object]) -> Mount:
    made = object.__new__(Mount)
    for name, value in zip(Mount.__slots__, values, strict=True):
        setattr(made, name, value)
    return made
