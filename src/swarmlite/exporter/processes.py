"""What a process of this host takes: proc_pid_stat(5) and its descriptors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STIME, _RSS = 11, 12, 21
"""Places behind the name, which may have spaces in it."""


@dataclass(frozen=True)
class Usage:
    """Of one process, now."""

    resident: int
    cpu_s: float
    fds: int


def usage(pid: int) -> Usage | None:
    """None where it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        fds = sum(1 for _ in (folder / "fd").iterdir())
    except OSError:
        return None
    ticks = int(fields[_UTIME]) + int(fields[_STIME])
    return Usage(int(fields[_RSS]) * _PAGE, ticks / _TICKS, fds)
