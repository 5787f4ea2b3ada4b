"""What cgroups this host has, read from its mounts."""

from __future__ import annotations

import os

from swarmlite import errors
from swarmlite.runtime.cgroups import base
from swarmlite.runtime.cgroups.v1 import V1
from swarmlite.runtime.cgroups.v2 import V2

MOUNTINFO = "/proc/self/mountinfo"
NAMES = {
    "memory", "cpu", "cpuacct", "pids", "devices", "freezer", "cpuset", "blkio", "hugetlb", "rdma",
    "net_cls", "net_prio",
}  # fmt: skip


class Host:
    """`kind` is "v1", "hybrid" (controllers on v1) or "v2"; `roots` are of v1's controllers."""

    def __init__(self, mountinfo: str = MOUNTINFO) -> None:
        self._own = mountinfo == MOUNTINFO
        self.roots: dict[str, str] = {}
        self.unified: str | None = None
        with open(mountinfo, encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                self._read(line)
        if not self.roots and self.unified is None:
            raise errors.FailedPrecondition("no cgroup hierarchy is mounted on this host")
        self.kind = "v2" if not self.roots else "hybrid" if self.unified else "v1"

    def _read(self, line: str) -> None:
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split()[:3]
        where = fields[4]
        if kind not in ("cgroup", "cgroup2") or not self._reached(where, fields[2]):
            return
        if kind == "cgroup2" and self.unified is None:
            self.unified = where
        elif kind == "cgroup":
            for option in options.split(","):
                if option in NAMES:
                    self.roots.setdefault(option, where)

    def _reached(self, where: str, device: str) -> bool:
        """Whether the path leads to that mount, and not to another that covers it."""
        if not self._own:
            return True
        major, minor = device.split(":")
        try:
            return os.stat(where).st_dev == os.makedev(int(major), int(minor))  # noqa: PTH116
        except OSError:
            return False

    def cgroup(self, path: str, resources: dict[str, object] | None = None) -> base.Cgroup:
        """The group at `path`, which need not exist, with the controllers for `resources`."""
        if self.roots:
            return V1(self.roots, path, resources, self.unified)
        assert self.unified is not None
        return V2(self.unified, path)
