"""What clusters leave whose process was killed outright: found by the next one, and removed.

The kernel ends such a cluster's hosts with their owner, and with them their namespaces, veths and
mounts. Two things stay: the folder of their disks, and empty cgroups. A folder says whose it is.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from swarmlite.storage import trees

from . import cgroup_sweep
from .sampler import start_ticks

PREFIX = "swl-"
OWNER = "owner.json"


def claim(root: Path, cgroup_parent: str) -> None:
    """Write whose the folder is: this process's, for as long as it lives."""
    pid = os.getpid()
    record = {"pid": pid, "start_ticks": start_ticks(pid), "cgroup_parent": cgroup_parent}
    (root / OWNER).write_text(json.dumps(record))


def sweep() -> list[Path]:
    """Remove what clusters of dead processes left; the folders that were removed."""
    removed = []
    for record in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
        try:
            owner = json.loads(record.read_text())
            if _lives(owner["pid"], owner["start_ticks"]):
                continue
            cgroup_sweep.remove(owner["cgroup_parent"])
        except (OSError, ValueError, KeyError):
            continue  # another one is at it, or it is none of ours
        trees.sweep(record.parent)
        removed.append(record.parent)
    return removed


def _lives(pid: int, ticks: int) -> bool:
    try:
        return start_ticks(pid) == ticks
    except OSError:
        return False
