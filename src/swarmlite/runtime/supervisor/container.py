"""What the supervisor knows of a container, in memory and on disk."""

from __future__ import annotations

import contextlib
import json
import os
import socket

from swarmlite.runtime.cgroups.base import Cgroup
from swarmlite.runtime.supervisor.joining import Joining
from swarmlite.runtime.supervisor.output import Output
from swarmlite.runtime.supervisor.process_state import start_time_ticks

__all__ = ["Container", "load", "start_time_ticks"]

CREATING, CREATED, STARTING, RUNNING, STOPPED = (
    "creating", "created", "starting", "running", "stopped",
)  # fmt: skip
WIRE_STATUS = {STARTING: CREATED}  # what clients see


class Container:
    """One container; `pid` is 0 until its process exists, `exit_code` None until it has ended."""

    def __init__(self, container_id: str, bundle: str) -> None:
        self.id, self.bundle = container_id, bundle
        self.status = CREATING
        self.pid = 0
        self.joining: Joining | None = None
        self.start_time_ticks = 0
        self.created_at = self.started_at = self.finished_at = 0.0
        self.exit_code: int | None = None
        self.oom_killed = False
        self.paused = False
        self.error = ""
        self.warnings: list[str] = []
        self.cgroup: Cgroup | None = None
        self.cgroup_path = ""
        self.own_pid_namespace = True
        # what an exec needs of the spec: its seccomp profile
        self.linux: dict[str, object] = {}
        self.annotations: dict[str, object] = {}
        self.capabilities: dict[str, object] = {}
        self.had_tracer = False  # an exec that might trace others
        self.channel: socket.socket | None = None
        self.report: dict[str, object] | None = None  # the child's last words
        self.oom_event = -1  # readable when memory runs out; only with a limit
        self.ooms = 0  # so many kills were told of
        self.output: Output | None = None  # None where its streams are someone else's
        self.console = -1

    def bounding(self) -> list[str]:
        """The capabilities that its processes may come to have."""
        names = self.capabilities.get("bounding") or []
        return names if isinstance(names, list) else []

    def may_trace(self) -> bool:
        """Whether a process of it may look into others that are not dumpable."""
        return self.had_tracer or "CAP_SYS_PTRACE" in self.bounding()

    def wire(self) -> dict[str, object]:
        """The fields of client.State."""
        return {
            "id": self.id,
            "bundle": self.bundle,
            "pid": self.pid if self.status != STOPPED else 0,
            "start_time_ticks": self.start_time_ticks,
            "status": WIRE_STATUS.get(self.status, self.status),
            "created_at": self.created_at,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "exit_code": self.exit_code,
            "oom_killed": self.oom_killed,
            "error": self.error,
            "warnings": self.warnings,
        }

    def save(self, directory: str) -> None:
        """To disk, so that an exit code outlives the supervisor; a full disk is tolerated.

        A line more each time, of which the last whole one counts: a file beside it, renamed over
        it, costs 0.3 ms more (new inodes, three times in a short life).
        """
        path = f"{directory}/{self.id}.json"
        record = {
            **self.wire(),
            "pid": self.pid,
            "cgroup_path": self.cgroup_path,
            "own_pid_namespace": self.own_pid_namespace,
        }
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # A newline first ends what a full disk may have torn.
                os.write(fd, f"\n{json.dumps(record)}\n".encode())
            finally:
                os.close(fd)

    def forget(self, directory: str) -> None:
        """Remove it from disk."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{directory}/{self.id}.json")  # noqa: PTH108


def load(text: str) -> Container:
    """A container of a supervisor that is gone, from its file: the last whole line of it.

    Raises ValueError or KeyError when there is none.
    """
    for line in reversed(text.splitlines()):
        with contextlib.suppress(ValueError):
            return _from_record(json.loads(line))
    raise ValueError("no whole line")


def _from_record(record: dict[str, object]) -> Container:
    container = Container(str(record["id"]), str(record["bundle"]))
    for key in (
        "status", "pid", "start_time_ticks", "created_at", "started_at", "finished_at",
        "exit_code", "oom_killed", "error", "cgroup_path", "own_pid_namespace",
    ):  # fmt: skip
        setattr(container, key, record[key])
    return container
