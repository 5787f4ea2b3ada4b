"""What containers really run on a cluster's hosts: cgroups and pids, not what a program says.

Everything is read from the machine's own /sys/fs/cgroup and /proc, and the names of the tasks from
the bundles on the hosts' disks, so that a host that is frozen, cut off or lying is seen too.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .host import CommandFailed, Host

CGROUPS = Path("/sys/fs/cgroup")
PAGE_BYTES = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True)
class Seen:
    """One container whose first process lives."""

    host: str
    container_id: str
    task: str
    """The task's name: SERVICE.SLOT.ID, or SERVICE.NODE.ID of a global service."""
    pid: int
    """As the machine sees it."""
    start_ticks: int

    @property
    def place(self) -> str:
        """SERVICE.SLOT: what one task at a time is to fill."""
        return self.task.rpartition(".")[0]


def containers(hosts: Iterable[Host]) -> frozenset[Seen]:
    """The containers that run now, on all of `hosts`."""
    return frozenset(
        seen
        for host in hosts
        for group in cgroups(host.cgroup_parent)
        if (seen := _first_process(host, group)) is not None
    )


def cgroups(parent: str) -> list[Path]:
    """A host's container cgroups in the hierarchy that shows pids (v1's, else v2's)."""
    for root in (CGROUPS / "pids", CGROUPS / "memory", CGROUPS):
        folder = root / parent.lstrip("/")
        if folder.is_dir():
            return [path for path in folder.iterdir() if path.is_dir()]
    return []


def _first_process(host: Host, group: Path) -> Seen | None:
    try:
        pids = (group / "cgroup.procs").read_text().split()
        for pid in map(int, pids):
            status = Path(f"/proc/{pid}/status").read_text()
            inner = status.partition("NSpid:")[2].splitlines()[0].split()
            if inner[-1] == "1":
                return Seen(host.name, group.name, _task(host, group.name), pid, start_ticks(pid))
    except (OSError, IndexError, ValueError):
        pass  # it ended while it was looked at
    return None


def start_ticks(pid: int) -> int:
    """When a process started: with the pid, its identity. Raises OSError once it is gone."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _task(host: Host, container_id: str) -> str:
    # Where the tmpfs is full, as in releases before it, a bundle is the container's own folder.
    for place in (host.bundles(), host.paths.containers_dir):
        try:
            config = json.loads((place / container_id / "config.json").read_text())
            return str(config["annotations"]["swarmlite.name"])
        except (OSError, ValueError, KeyError):
            continue
    return container_id


@dataclass(frozen=True)
class Use:
    """What one process of a node holds."""

    host: str
    process: str
    descriptors: int
    memory_bytes: int
    """Resident."""


def uses(hosts: Iterable[Host], processes: Sequence[str]) -> list[Use]:
    """Of those of `processes` that run, as `Host.node_pid` names them."""
    found = []
    for host in hosts:
        for process in processes:
            with contextlib.suppress(CommandFailed, OSError):
                folder = Path(f"/proc/{host.node_pid(process)}")
                pages = int((folder / "statm").read_text().split()[1])
                count = len(list((folder / "fd").iterdir()))
                found.append(Use(host.name, process, count, pages * PAGE_BYTES))
    return found


class Sampler:
    """Samples the containers of `hosts` in a thread while inside the context."""

    def __init__(self, hosts: Iterable[Host], every_s: float = 0.25) -> None:
        """Nothing runs before the context is entered."""
        self.samples: list[tuple[float, frozenset[Seen]]] = []
        self._hosts = list(hosts)
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.samples.append((time.monotonic(), containers(self._hosts)))
            self._stop.wait(self._every_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
