"""Whether a process is the one that is meant: pids are used again."""

from __future__ import annotations

import os

DEAD = (b"Z", b"X", b"x")


def start_time_ticks(pid: int, *, living: bool = False) -> int:
    """When a process started, in ticks since boot (proc_pid_stat(5), field 22); 0 if it is gone.

    With the pid it names a process for ever. With `living` a zombie counts as gone.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        fields = os.read(fd, 4096).rpartition(b")")[2].split()
        return 0 if living and fields[0] in DEAD else int(fields[19])
    except ProcessLookupError:
        return 0
    finally:
        os.close(fd)
