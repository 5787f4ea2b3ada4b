"""A container's transient scope: started, changed and stopped by systemd.

A scope needs a process from its first moment on, and the container's own is not there yet: a
placeholder holds it until then. Sources: org.freedesktop.systemd1(5), systemd.resource-control(5),
systemd's "Control Group APIs and Delegation".
"""

from __future__ import annotations

import os

from swarmlite import errors
from swarmlite.kernel import processes
from swarmlite.runtime import lean
from swarmlite.runtime.systemd import properties
from swarmlite.runtime.systemd.dbus import Connection, RemoteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

PRIVATE = "/run/systemd/private"
_SERVICE, _OBJECT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER = (_SERVICE, _OBJECT, f"{_SERVICE}.Manager")
EXISTS, NO_SUCH = f"{_SERVICE}.UnitExists", f"{_SERVICE}.NoSuchUnit"
_NAME_CHARACTERS = set(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@"
)  # fmt: skip
MAX_NAME = 255


def place(text: str, container_id: str) -> tuple[str, str]:
    """The slice and the scope of a cgroupsPath, `SLICE:PREFIX:NAME`; raises InvalidSpec."""
    slice_, prefix, name = "", "swarmlite", container_id
    if text:
        parts = text.split(":")
        if len(parts) != 3 or not parts[2]:
            raise errors.InvalidSpec(
                f"linux.cgroupsPath: {text!r}: with --systemd-cgroup it is SLICE:PREFIX:NAME"
            )
        slice_, prefix, name = parts
    slice_ = slice_ or "system.slice"
    unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    for word, ending in ((slice_, ".slice"), (unit, ".scope")):
        plain = not set(word) - _NAME_CHARACTERS and len(word) <= MAX_NAME
        if not plain or not word.endswith(ending) or word == ending:
            raise errors.InvalidSpec(
                f"linux.cgroupsPath: {word!r} is not the name of a {ending[1:]}"
            )
    return slice_, unit


class Manager:
    """systemd, for the length of a `with`. FailedPrecondition: it is not there, or it refuses."""

    def __init__(self, address: str = PRIVATE) -> None:
        try:
            self._connection = Connection(address)
        except OSError as error:
            raise errors.FailedPrecondition(
                f"--systemd-cgroup: no systemd answers at {address} ({error.strerror or error}); "
                "without the flag, groups are made in the file system"
            ) from error

    def __enter__(self) -> Manager:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def start(self, slice_: str, unit: str, resources: dict, kind: str, pid: int) -> str:  # type: ignore[type-arg]
        """A scope that holds the process; the path of its group. `kind` is the host's cgroups'.

        Raises AlreadyExists.
        """
        values = [
            ("Description", ("s", f"container {unit.removesuffix('.scope')}")),
            ("Slice", ("s", slice_)),
            ("PIDs", ("au", [pid])),
            ("Delegate", ("b", True)),
            ("DefaultDependencies", ("b", False)),
            *properties.accounts(kind),
            *properties.limits(resources, kind),
            *properties.devices_of(resources),
        ]
        try:
            said = self._started(unit, values)
        except RemoteError as error:
            if error.name != EXISTS:
                raise
            self._forget_failed(unit)  # one that nobody has stopped since it failed
            try:
                said = self._started(unit, values)
            except RemoteError as again:
                if again.name != EXISTS:
                    raise
                raise errors.AlreadyExists(f"{unit} exists") from again
        if said != "done":
            raise errors.FailedPrecondition(f"systemd: {unit}: its start is {said}")
        [of_unit] = self._connection.call(MANAGER, "GetUnit", "s", unit)
        properties_of = (_SERVICE, str(of_unit), "org.freedesktop.DBus.Properties")
        [path] = self._connection.call(
            properties_of, "Get", "ss", f"{_SERVICE}.Scope", "ControlGroup"
        )
        return str(path)

    def _started(self, unit: str, values: list[properties.Property]) -> str:
        return self._job("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", values, [])

    def change(self, unit: str, resources: dict, kind: str) -> None:  # type: ignore[type-arg]
        """Its limits, as far as systemd knows such."""
        values = properties.limits(resources, kind)
        if values:
            self._connection.call(MANAGER, "SetUnitProperties", "sba(sv)", unit, True, values)

    def stop(self, unit: str) -> None:
        """It is gone, whatever became of it before."""
        try:
            self._job("StopUnit", "ss", unit, "replace")
        except RemoteError as error:
            if error.name != NO_SUCH:
                raise
        self._forget_failed(unit)

    def _forget_failed(self, unit: str) -> None:
        """One that failed (for memory, say) would keep its name."""
        try:
            self._connection.call(MANAGER, "ResetFailedUnit", "s", unit)
        except RemoteError as error:
            if error.name != NO_SUCH:
                raise

    def _job(self, member: str, signature: str, *values: object) -> str:
        """What became of it, once it has ended: `done`, as a rule."""
        self._connection.call(MANAGER, "Subscribe")
        [job] = self._connection.call(MANAGER, member, signature, *values)
        return str(self._connection.signal("JobRemoved", lambda body: body[1] == job)[3])


class Placeholder:
    """A process that does nothing, for the length of a `with`."""

    def __init__(self) -> None:
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                processes.die_with_parent()
                if os.getppid() == parent:
                    lean.signal.pause()
            finally:
                os._exit(0)

    def __enter__(self) -> Placeholder:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        os.kill(self.pid, lean.SIGKILL)
        os.waitpid(self.pid, 0)


def join_files(path: str) -> list[str]:
    """Where a process writes `0` so that systemd knows it as the scope's, besides v1's limits."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8") as file:  # noqa: PTH123
        for line in file:
            before, _, after = line.partition(" - ")
            where, (kind, _, options) = before.split()[4], after.split()[:3]
            tracks = kind == "cgroup2" or (
                kind == "cgroup" and "name=systemd" in options.split(",")
            )
            # a hierarchy of which another mount is on top is not reached by its path
            if tracks and os.path.isdir(f"{where}{path}"):  # noqa: PTH112
                found.append(f"{where}{path}/cgroup.procs")
    return found
