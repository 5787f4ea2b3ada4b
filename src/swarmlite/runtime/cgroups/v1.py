"""Cgroups v1: one directory a controller (Documentation/admin-guide/cgroup-v1/).

On a hybrid host the unified hierarchy is used only for controllers that are there and not on v1.
"""

from __future__ import annotations

import os

from swarmlite import errors
from swarmlite.runtime import lean
from swarmlite.runtime.cgroups import base, counters, devices, ooms, v1_settings
from swarmlite.runtime.cgroups.v2 import V2

#: What every container joins where the host has it; the other controllers when asked for.
ALWAYS = ("memory", "cpu", "cpuacct", "pids", "devices", "freezer")
FREEZE_TRIES = 200


class V1(base.Cgroup):
    """A group on v1; `roots` maps a controller to where its hierarchy is mounted."""

    def __init__(
        self,
        roots: dict[str, str],
        path: str,
        resources: dict | None = None,  # type: ignore[type-arg]
        unified: str | None = None,
    ) -> None:
        super().__init__()
        self._path = base.check_path(path)
        asked = v1_settings.controllers(resources or {})
        self._at = {c: f"{roots[c]}/{self._path}" for c in (*ALWAYS, *asked) if c in roots}
        self._everywhere = [f"{root}/{self._path}" for root in dict.fromkeys(roots.values())]
        self._v2: V2 | None = None
        if unified is not None:
            self._everywhere.append(f"{unified}/{self._path}")
            elsewhere = [c for c in asked if c not in roots]
            there = base.read(f"{unified}/cgroup.controllers").split() if elsewhere else []
            if any(c in there for c in elsewhere):
                self._v2 = V2(unified, path, device_programs=False)
                self._v2_controllers = [c for c in elsewhere if c in there]

    def create(self, resources: dict, *, delegated: bool = False) -> None:  # type: ignore[type-arg]
        """Make it and set its limits."""
        made: list[str] = []
        try:
            for directory in self._directories():
                if not delegated or not os.path.isdir(directory):  # noqa: PTH112
                    _make(directory, made)
            if "cpuset" in self._at:
                _inherit_cpuset(self._at["cpuset"])
            if self._v2 is not None:
                self._v2.create({}, delegated=delegated)
            self.update(resources)
        except FileExistsError as error:
            _unmake(made)
            raise errors.AlreadyExists(f"the cgroup {self._path} is taken") from error
        except BaseException:
            _unmake(made)
            if self._v2 is not None:
                self._v2.delete()
            raise

    def _directories(self) -> list[str]:
        """Each once: cpu and cpuacct may be one hierarchy under two names."""
        return list(dict.fromkeys(self._at.values()))

    def update(self, resources: dict) -> None:  # type: ignore[type-arg]
        """Change the limits that `resources` names."""
        self._memory(resources.get("memory") or {})
        self._cpu(resources.get("cpu") or {})
        for controller, name, value in v1_settings.plain(resources):
            if controller not in self._at and self._on_v2(controller, resources):
                continue
            self._set(controller, name, value)
        for controller, names, value, words in v1_settings.where_there(resources):
            self._set_first(controller, names, value, words)
        if resources.get("devices"):
            self._devices(devices.with_needed(devices.rules(resources["devices"])))

    def _on_v2(self, controller: str, resources: dict) -> bool:  # type: ignore[type-arg]
        """Set there what only the unified hierarchy of a hybrid host has."""
        if self._v2 is None or controller not in self._v2_controllers:
            return False
        kinds = {"hugetlb": "hugepageLimits", "rdma": "rdma"}
        self._v2.update({kinds[controller]: resources[kinds[controller]]})
        return True

    def _set(self, controller: str, name: str, value: object) -> None:
        directory = self._at.get(controller)
        if directory is None:
            raise errors.FailedPrecondition(f"this host has no cgroup controller {controller!r}")
        try:
            base.write(f"{directory}/{name}", value)
        except FileNotFoundError as error:
            raise errors.FailedPrecondition(f"this host's cgroups have no {name}") from error

    def _set_first(self, controller: str, names: list[str], value: object, words: str) -> None:
        """Under the first of the names that this kernel has; a warning when it has none."""
        directory = self._at.get(controller)
        for name in names if directory is not None else []:
            try:
                base.write(f"{directory}/{name}", value)
                return
            except OSError as error:
                if error.errno not in base.NOT_SUPPORTED:
                    raise
        self.warnings.append(f"{words}: not supported by this host's kernel")

    def _memory(self, memory: dict) -> None:  # type: ignore[type-arg]
        limit, swap = memory.get("limit"), memory.get("swap")
        if limit and memory.get("checkBeforeUpdate"):
            used = base.read_int(f"{self._at.get('memory', '')}/memory.usage_in_bytes")
            if 0 < limit < used:
                raise errors.FailedPrecondition(f"memory.limit: {used} bytes are in use already")
        # Memory with swap may never be below memory: when both rise, it must rise first.
        if limit and limit > 0 and not swap:
            current = base.read_int(f"{self._at.get('memory', '')}/memory.memsw.limit_in_bytes")
            if 0 < current < limit:
                self._set("memory", "memory.memsw.limit_in_bytes", limit)
        files = (("memory.limit_in_bytes", limit), ("memory.memsw.limit_in_bytes", swap))
        pairs = [(name, int(value)) for name, value in files if value]
        for ordered in (pairs, pairs[::-1]):
            try:
                for name, value in ordered:
                    self._memory_limit(name, value)
                return
            except OSError:
                if ordered is not pairs or len(pairs) < 2:
                    raise

    def _memory_limit(self, name: str, value: int) -> None:
        directory = self._at.get("memory")
        if directory is None:
            raise errors.FailedPrecondition("this host has no cgroup controller 'memory'")
        try:
            base.write(f"{directory}/{name}", value)
        except FileNotFoundError:
            # the limit without it stands
            self.warnings.append("memory.swap: this host's kernel does not account for swap")

    def _cpu(self, cpu: dict) -> None:  # type: ignore[type-arg]
        period, quota = cpu.get("period"), cpu.get("quota")
        files = (("cpu.cfs_period_us", period), ("cpu.cfs_quota_us", quota))
        pairs = [(name, int(value)) for name, value in files if value]
        # Neither may exceed what the parents leave at any moment: the other order may do.
        for ordered in (pairs, pairs[::-1]):
            try:
                for name, value in ordered:
                    self._set("cpu", name, value)
                break
            except OSError:
                if ordered is not pairs or len(pairs) < 2:
                    raise

    def _devices(self, rules: list[devices.Rule]) -> None:
        """Every rule in order; the two files are opened once, for the default has a dozen rules."""
        directory = self._at.get("devices")
        if directory is None:
            raise errors.FailedPrecondition("this host has no cgroup controller 'devices'")
        files = {
            allow: os.open(f"{directory}/devices.{name}", os.O_WRONLY | os.O_CLOEXEC)
            for allow, name in ((True, "allow"), (False, "deny"))
        }
        try:
            for rule in rules:
                text = _device_text(rule)
                try:
                    os.write(files[rule[0]], text.encode())
                except OSError as error:
                    what = f"{directory}: device rule {text}: {error.strerror}"
                    raise OSError(error.errno, what) from error
        finally:
            for fd in files.values():
                os.close(fd)

    def join_files(self) -> list[str]:
        """Where a process writes `0` to be in it.

        `tasks`, not cgroup.procs: for a single thread that moves itself the kernel (since 5.16)
        takes no lock over all of fork and exit, which costs 5 to 12 ms when it was not held lately.
        """
        files = [f"{directory}/tasks" for directory in self._directories()]
        return files if self._v2 is None else [*files, f"{self._v2.directory()}/cgroup.procs"]

    def directory(self) -> str | None:
        """What clone3 starts a process in."""
        return None

    def binds(self) -> list[tuple[str, str]]:
        """What to show the container below /sys/fs/cgroup."""
        return list(self._at.items())

    def oom_kills(self) -> int:
        """How many processes were killed for memory."""
        if "memory" not in self._at:
            return 0
        return base.read_table(f"{self._at['memory']}/memory.oom_control").get("oom_kill", 0)

    def oom_event(self) -> int:
        """A descriptor that becomes readable when memory runs out in it; OSError."""
        return ooms.of_v1(self._at["memory"])

    def stats(self) -> dict[str, int]:
        """Its counters."""
        return counters.of_v1(self._at)

    def pids(self) -> list[int]:
        """The processes in it."""
        return base.read_pids(f"{next(iter(self._at.values()))}/cgroup.procs")

    def freeze(self, frozen: bool) -> None:
        """Stop or resume them all."""
        directory = self._at.get("freezer")
        if directory is None:
            raise errors.FailedPrecondition("this host has no cgroup controller 'freezer'")
        wanted = "FROZEN" if frozen else "THAWED"
        # Processes that are made meanwhile may hold it at FREEZING: written again, they follow.
        for _ in range(FREEZE_TRIES):
            self._set("freezer", "freezer.state", wanted)
            if base.read(f"{directory}/freezer.state").strip() == wanted:
                return

    def frozen(self) -> bool:
        """Whether they are stopped, or being stopped."""
        if "freezer" not in self._at:
            return False
        return base.read(f"{self._at['freezer']}/freezer.state").strip() not in ("THAWED", "")

    def delete(self) -> bool:
        """True once it is gone."""
        # also where only an earlier supervisor, who knew the resources, has made it
        gone = [base.remove(directory) for directory in self._everywhere]
        return all(gone)


def _device_text(rule: devices.Rule) -> str:
    _, kind, major, minor, access = rule
    numbers = ":".join("*" if number is None else str(number) for number in (major, minor))
    everything = kind == "a" and numbers == "*:*" and set(access) == set("rwm")
    return "a" if everything else f"{kind} {numbers} {access}"


def _make(directory: str, made: list[str]) -> None:
    try:
        os.mkdir(directory)  # noqa: PTH102
    except FileNotFoundError:
        os.makedirs(os.path.dirname(directory), exist_ok=True)  # noqa: PTH103, PTH120
        os.mkdir(directory)  # noqa: PTH102
    made.append(directory)


def _unmake(made: list[str]) -> None:
    for directory in made:
        with lean.suppress(OSError):
            base.remove(directory)


def _inherit_cpuset(directory: str) -> None:
    """A new cpuset is empty and takes no process: fill it, and its parents, from above."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        missing, level = [], directory
        while not (value := base.read(f"{level}/{name}").strip()):
            missing.append(level)
            level = os.path.dirname(level)  # noqa: PTH120
        for below in reversed(missing):
            base.write(f"{below}/{name}", value)
