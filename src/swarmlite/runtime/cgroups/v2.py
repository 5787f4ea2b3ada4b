"""Cgroups v2: one directory (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import errno
import os

from swarmlite import errors
from swarmlite.kernel import bpf
from swarmlite.runtime import lean
from swarmlite.runtime.cgroups import base, counters, devices, ooms, v1_settings

CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "io", "hugetlb", "rdma")
LEAF = "swarmlite.processes"
HAND_DOWN_TRIES = 4  # processes may be made while they are moved


class V2(base.Cgroup):
    """A group below `root`, where the unified hierarchy is mounted."""

    def __init__(self, root: str, path: str, *, device_programs: bool = True) -> None:
        super().__init__()
        self._root = root
        self._path = base.check_path(path)
        self._at = f"{root}/{self._path}"
        self._device_programs = device_programs

    def create(self, resources: dict, *, delegated: bool = False) -> None:  # type: ignore[type-arg]
        """Make it and set its limits."""
        if delegated and os.path.isdir(self._at):  # noqa: PTH112
            self.update(resources)
            return
        self._enable_controllers()
        try:
            os.mkdir(self._at)  # noqa: PTH102
        except FileExistsError as error:
            raise errors.AlreadyExists(f"the cgroup {self._path} is taken") from error
        try:
            self.update(resources)
        except BaseException:
            base.remove(self._at)
            raise

    def _enable_controllers(self) -> None:
        """Each level hands its controllers down before the next one has them."""
        level = self._root
        for part in self._path.split("/"):
            wanted = [
                c for c in base.read(f"{level}/cgroup.controllers").split() if c in CONTROLLERS
            ]
            enabled = base.read(f"{level}/cgroup.subtree_control").split()
            missing = [f"+{c}" for c in wanted if c not in enabled]
            if missing:
                self._hand_down(level, missing)
            level = f"{level}/{part}"
            if level != self._at:
                os.makedirs(level, exist_ok=True)  # noqa: PTH103

    def _hand_down(self, level: str, controllers: list[str]) -> None:
        """Enable them below; where processes live themselves, they move to a leaf first.

        That is so for the root that a container sees: it is a group like any other, and the kernel
        wants no processes beside groups that controllers divide.
        """
        control = f"{level}/cgroup.subtree_control"
        for attempt in range(HAND_DOWN_TRIES):
            try:
                base.write(control, " ".join(controllers))
                return
            except OSError as error:
                if (
                    error.errno != errno.EBUSY
                    or level != self._root
                    or attempt == HAND_DOWN_TRIES - 1
                ):
                    raise
            leaf = f"{level}/{LEAF}"
            os.makedirs(leaf, exist_ok=True)  # noqa: PTH103
            for pid in base.read_pids(f"{level}/cgroup.procs"):
                with lean.suppress(ProcessLookupError):
                    base.write(f"{leaf}/cgroup.procs", pid)

    def update(self, resources: dict) -> None:  # type: ignore[type-arg]
        """Change the limits that `resources` names."""
        memory = resources.get("memory") or {}
        if memory.get("swap") and not memory.get("limit"):
            # together with the limit that is in force
            limit = base.read_int(f"{self._at}/memory.max")
            resources = {**resources, "memory": {**memory, "limit": limit}}
        for name, value in settings(resources):
            try:
                base.write(f"{self._at}/{name}", value)
            except FileNotFoundError as error:
                if name == "memory.swap.max":
                    # the limit without it stands
                    self.warnings.append("memory.swap: this host does not account for swap")
                    continue
                raise errors.FailedPrecondition(
                    f"this host's cgroups have no {name}: is the controller enabled?"
                ) from error
        for names, value, words in where_there(resources):
            self._set_first(names, value, words)
        self.warnings += without_equal(resources)
        rules = devices.rules(resources.get("devices") or [])
        if rules and self._device_programs:
            self._attach(devices.program(devices.with_needed(rules)))

    def _set_first(self, names: list[str], value: object, words: str) -> None:
        for name in names:
            try:
                base.write(f"{self._at}/{name}", value)
                return
            except OSError as error:
                if error.errno not in base.NOT_SUPPORTED:
                    raise
        self.warnings.append(f"{words}: not supported by this host's kernel")

    def _attach(self, program: bytes) -> None:
        loaded = bpf.load_device_program(program)
        directory = os.open(self._at, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            bpf.attach_device_program(loaded, directory)
        finally:
            os.close(directory)
            os.close(loaded)

    def join_files(self) -> list[str]:
        """Where a process writes `0` to be in it."""
        return []

    def directory(self) -> str | None:
        """What clone3 starts a process in."""
        return self._at

    def binds(self) -> list[tuple[str, str]]:
        """What to show the container below /sys/fs/cgroup."""
        return [("", self._at)]

    def oom_kills(self) -> int:
        """How many processes were killed for memory."""
        return base.read_table(f"{self._at}/memory.events").get("oom_kill", 0)

    def oom_event(self) -> int:
        """A descriptor that becomes readable when memory runs out in it; OSError."""
        return ooms.of_v2(self._at)

    def stats(self) -> dict[str, int]:
        """Its counters."""
        return counters.of_v2(self._at)

    def pids(self) -> list[int]:
        """The processes in it."""
        return base.read_pids(f"{self._at}/cgroup.procs")

    def freeze(self, frozen: bool) -> None:
        """Stop or resume them all."""
        base.write(f"{self._at}/cgroup.freeze", int(frozen))

    def frozen(self) -> bool:
        """Whether they are stopped, or being stopped."""
        return base.read(f"{self._at}/cgroup.freeze").strip() == "1"

    def kill(self, signal: int) -> None:
        """Signal every process in it."""
        if signal == 9:
            try:
                base.write(f"{self._at}/cgroup.kill", 1)  # since 5.14: also what forks meanwhile
                return
            except FileNotFoundError:
                pass
        super().kill(signal)

    def delete(self) -> bool:
        """True once it is gone."""
        return base.remove(self._at)


def settings(resources: dict) -> list[tuple[str, object]]:  # type: ignore[type-arg]
    """The files and values that OCI's v1-shaped limits amount to; raises InvalidSpec."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    result: list[tuple[str, object]] = []
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit:
        result.append(("memory.max", limit if limit > 0 else "max"))
    if swap:
        # OCI's swap is memory plus swap; v2 limits only swap
        if swap > 0 and (not limit or swap < limit):
            raise errors.InvalidSpec(
                "linux.resources.memory.swap: must be at least memory.limit, which it includes"
            )
        result.append(("memory.swap.max", swap - limit if swap > 0 else "max"))
    if memory.get("reservation"):
        result.append(("memory.low", memory["reservation"]))
    if cpu.get("shares"):
        # the range 2..262144 onto 1..10000, as the kernel's users agreed
        result.append(("cpu.weight", 1 + (max(2, min(cpu["shares"], 262144)) - 2) * 9999 // 262142))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota") or -1
        result.append(
            ("cpu.max", f"{quota if quota > 0 else 'max'} {cpu.get('period') or base.PERIOD_US}")
        )
    result += [(f"cpuset.{key}", cpu[key]) for key in ("cpus", "mems") if cpu.get(key)]
    pids = (resources.get("pids") or {}).get("limit")
    if pids is not None:
        result.append(("pids.max", pids if pids > 0 else "max"))
    result += _throttles(resources.get("blockIO") or {})
    for page in resources.get("hugepageLimits") or []:
        result.append((f"hugetlb.{v1_settings.page_size(page)}.max", int(page["limit"])))
    result += [("rdma.max", f"{device} {value}") for device, value in v1_settings.rdma(resources)]
    unified: dict[str, object] = resources.get("unified") or {}
    for name in unified:
        if "/" in name or "." not in name:
            raise errors.InvalidSpec(f"linux.resources.unified: {name!r} is not a control file")
    return result + list(unified.items())


def _throttles(block: dict) -> list[tuple[str, object]]:  # type: ignore[type-arg]
    """io.max: one line a device and limit."""
    keys = {
        "throttleReadBpsDevice": "rbps", "throttleWriteBpsDevice": "wbps",
        "throttleReadIOPSDevice": "riops", "throttleWriteIOPSDevice": "wiops",
    }  # fmt: skip
    return [
        ("io.max", f"{v1_settings.device_number(entry)} {word}={int(entry['rate']) or 'max'}")
        for key, word in keys.items()
        for entry in block.get(key) or []
    ]


def where_there(resources: dict) -> list[tuple[list[str], object, str]]:  # type: ignore[type-arg]
    """Files of which the first is written that this kernel has; else a warning of those words."""
    block, cpu = resources.get("blockIO") or {}, resources.get("cpu") or {}
    result: list[tuple[list[str], object, str]] = []
    weight_files = ["io.bfq.weight", "io.weight"]
    if block.get("weight"):
        result.append((weight_files, f"default {block['weight']}", "blockIO.weight"))
    for entry in block.get("weightDevice") or []:
        if entry.get("weight"):
            value = f"{v1_settings.device_number(entry)} {entry['weight']}"
            result.append((weight_files, value, "blockIO.weightDevice"))
    for key, name in (("burst", "cpu.max.burst"), ("idle", "cpu.idle")):
        if cpu.get(key):
            result.append(([name], cpu[key], f"cpu.{key}"))
    return result


def without_equal(resources: dict) -> list[str]:  # type: ignore[type-arg]
    """What v1 had and v2 has not: it is left out, and said."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    asked = {
        "memory.swappiness": memory.get("swappiness") is not None,
        "memory.kernel": memory.get("kernel"),
        "memory.kernelTCP": memory.get("kernelTCP"),
        "memory.disableOOMKiller": memory.get("disableOOMKiller"),
        "cpu.realtimeRuntime": cpu.get("realtimeRuntime"),
        "cpu.realtimePeriod": cpu.get("realtimePeriod"),
        "blockIO.leafWeight": (resources.get("blockIO") or {}).get("leafWeight"),
        "network": resources.get("network"),
    }
    return [f"{name}: cgroups v2 have no such limit" for name, there in asked.items() if there]
