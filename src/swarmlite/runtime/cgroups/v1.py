"""Cgroups v1: one directory a controller (Documentation/admin-guide/cgroup-v1/).

The unified hierarchy of a hybrid host holds no controller that we use, so it is left alone.
"""

from __future__ import annotations

import contextlib
import os

from swarmlite import errors
from swarmlite.runtime.cgroups import base, counters, devices

#: What every container joins where the host has it; the other controllers when asked for.
ALWAYS = ("memory", "cpu", "cpuacct", "pids", "devices", "freezer")


class V1(base.Cgroup):
    """A group on v1; `roots` maps a controller to where its hierarchy is mounted."""

    def __init__(self, roots: dict[str, str], path: str, resources: dict | None = None) -> None:  # type: ignore[type-arg]
        self._path = base.check_path(path)
        wanted = [*ALWAYS]
        cpu = (resources or {}).get("cpu") or {}
        if cpu.get("cpus") or cpu.get("mems"):
            wanted.append("cpuset")
        if (resources or {}).get("blockIO"):
            wanted.append("blkio")
        self._at = {c: f"{roots[c]}/{self._path}" for c in wanted if c in roots}
        self._everywhere = [f"{root}/{self._path}" for root in dict.fromkeys(roots.values())]

    def create(self, resources: dict) -> None:  # type: ignore[type-arg]
        """Make it and set its limits."""
        made: list[str] = []
        try:
            for directory in self._directories():
                _make(directory, made)
            if "cpuset" in self._at:
                _inherit_cpuset(self._at["cpuset"])
            self.update(resources)
        except FileExistsError as error:
            _unmake(made)
            raise errors.AlreadyExists(f"the cgroup {self._path} is taken") from error
        except BaseException:
            _unmake(made)
            raise

    def _directories(self) -> list[str]:
        """Each once: cpu and cpuacct may be one hierarchy under two names."""
        return list(dict.fromkeys(self._at.values()))

    def update(self, resources: dict) -> None:  # type: ignore[type-arg]
        """Change the limits that `resources` names."""
        self._memory(resources.get("memory") or {})
        self._cpu(resources.get("cpu") or {})
        limit = (resources.get("pids") or {}).get("limit")
        if limit is not None:
            self._set("pids", "pids.max", limit if limit > 0 else "max")
        weight = (resources.get("blockIO") or {}).get("weight")
        if weight:
            with contextlib.suppress(FileNotFoundError):
                self._set("blkio", "blkio.bfq.weight", weight)
        if resources.get("devices"):
            self._devices(devices.rules(resources["devices"]))

    def _set(self, controller: str, name: str, value: object) -> None:
        directory = self._at.get(controller)
        if directory is None:
            raise errors.FailedPrecondition(f"this host has no cgroup controller {controller!r}")
        base.write(f"{directory}/{name}", value)

    def _memory(self, memory: dict) -> None:  # type: ignore[type-arg]
        limit, swap = memory.get("limit"), memory.get("swap")
        # Memory with swap may never be below memory: when both rise, it must rise first.
        if limit and limit > 0 and swap is None:
            current = base.read_int(f"{self._at.get('memory', '')}/memory.memsw.limit_in_bytes")
            if 0 < current < limit:
                self._set("memory", "memory.memsw.limit_in_bytes", limit)
        pairs = [("memory.limit_in_bytes", limit), ("memory.memsw.limit_in_bytes", swap)]
        try:
            for name, value in pairs:
                if value is not None:
                    self._set("memory", name, value)
        except FileNotFoundError:
            pass  # no swap accounting on this host: the limit without it stands
        except OSError:
            for name, value in reversed(pairs):
                if value is not None:
                    self._set("memory", name, value)
        if memory.get("reservation") is not None:
            self._set("memory", "memory.soft_limit_in_bytes", memory["reservation"])
        if memory.get("swappiness") is not None:
            self._set("memory", "memory.swappiness", memory["swappiness"])
        if memory.get("disableOOMKiller"):
            self._set("memory", "memory.oom_control", 1)

    def _cpu(self, cpu: dict) -> None:  # type: ignore[type-arg]
        for key, name in (
            ("shares", "cpu.shares"),
            ("period", "cpu.cfs_period_us"),
            ("quota", "cpu.cfs_quota_us"),
        ):
            if cpu.get(key):
                self._set("cpu", name, cpu[key])
        for key in ("cpus", "mems"):
            if cpu.get(key):
                self._set("cpuset", f"cpuset.{key}", cpu[key])

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
        return [f"{directory}/tasks" for directory in self._directories()]

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

    def stats(self) -> dict[str, int]:
        """Its counters."""
        return counters.of_v1(self._at)

    def pids(self) -> list[int]:
        """The processes in it."""
        return base.read_pids(f"{next(iter(self._at.values()))}/cgroup.procs")

    def freeze(self, frozen: bool) -> None:
        """Stop or resume them all."""
        self._set("freezer", "freezer.state", "FROZEN" if frozen else "THAWED")

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
