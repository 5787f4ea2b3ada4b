"""How a process is scheduled, and what it takes its machine for.

Source: ioprio_set(2), sched_setattr(2), personality(2), linux/ioprio.h, linux/sched/types.h.
"""

from __future__ import annotations

import struct

from swarmlite.kernel import foreign
from swarmlite.kernel.libc import call

IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4,
    "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
}  # fmt: skip
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 1, "SCHED_FLAG_RECLAIM": 2, "SCHED_FLAG_DL_OVERRUN": 4,
    "SCHED_FLAG_KEEP_POLICY": 8, "SCHED_FLAG_KEEP_PARAMS": 16, "SCHED_FLAG_UTIL_CLAMP_MIN": 32,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}  # fmt: skip
DOMAINS = {"LINUX": 0, "LINUX32": 8}
_WHO_PROCESS, _CLASS_SHIFT = 1, 13


def set_io_priority(io_class: int, priority: int) -> None:
    """Of this process."""
    call("ioprio_set", _WHO_PROCESS, 0, io_class << _CLASS_SHIFT | priority)


def set_scheduler(
    policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int
) -> None:
    """Of this thread; times in nanoseconds, for SCHED_DEADLINE."""
    attributes = struct.pack(
        "=IIQiIQQQ", 48, policy, flags, nice, priority, runtime, deadline, period
    )
    call("sched_setattr", 0, attributes, foreign.c_uint(0))


def set_personality(domain: int) -> None:
    """What uname(2) and the loader take this machine for."""
    call("personality", foreign.c_ulong(domain))
