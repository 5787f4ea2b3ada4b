"""Cgroups v2: one directory (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import os

from swarmlite import errors
from swarmlite.kernel import bpf
from swarmlite.runtime.cgroups import base, counters, devices

CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "io")


class V2(base.Cgroup):
    """A group below `root`, where the unified hierarchy is mounted."""

    def __init__(self, root: str, path: str, *, device_programs: bool = True) -> None:
        self._root = root
        self._path = base.check_path(path)
        self._at = f"{root}/{self._path}"
        self._device_programs = device_programs

    def create(self, resources: dict) -> None:  # type: ignore[type-arg]
        """Make it and set its limits."""
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
                base.write(f"{level}/cgroup.subtree_control", " ".join(missing))
            level = f"{level}/{part}"
            if level != self._at:
                os.makedirs(level, exist_ok=True)  # noqa: PTH103

    def update(self, resources: dict) -> None:  # type: ignore[type-arg]
        """Change the limits that `resources` names."""
        for name, value in settings(resources):
            try:
                base.write(f"{self._at}/{name}", value)
            except FileNotFoundError as error:
                if name == "memory.swap.max":
                    continue  # no swap accounting on this host: the limit without it stands
                raise errors.FailedPrecondition(
                    f"this host's cgroups have no {name}: is the controller enabled?"
                ) from error
        rules = devices.rules(resources.get("devices") or [])
        if rules and self._device_programs:
            self._attach(devices.program(rules))

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

    def stats(self) -> dict[str, int]:
        """Its counters."""
        return counters.of_v2(self._at)

    def pids(self) -> list[int]:
        """The processes in it."""
        return base.read_pids(f"{self._at}/cgroup.procs")

    def freeze(self, frozen: bool) -> None:
        """Stop or resume them all."""
        base.write(f"{self._at}/cgroup.freeze", int(frozen))

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
    """The files and values that OCI's v1-shaped limits amount to; raises InvalidSpec.

    `memory.swappiness` amounts to none: v2 has no such setting, so it is left out.
    """
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
    weight = (resources.get("blockIO") or {}).get("weight")
    if weight:
        result.append(("io.weight", f"default {weight}"))
    unified: dict[str, object] = resources.get("unified") or {}
    return result + list(unified.items())
