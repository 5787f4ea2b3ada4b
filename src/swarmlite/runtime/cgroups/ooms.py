"""Descriptors that become readable when a group's processes run out of memory.

What they carry is of no interest: read it away, and ask the group how many were killed. Sources:
Documentation/admin-guide/cgroup-v1/memory.rst (10, OOM control); cgroup-v2.rst (memory.events);
inotify(7).
"""

from __future__ import annotations

import os

from swarmlite.kernel import foreign
from swarmlite.kernel.libc import LIBC, check
from swarmlite.runtime import lean

_IN_MODIFY = 2
_init = LIBC.inotify_init1
_init.argtypes = [foreign.c_int]
_add_watch = LIBC.inotify_add_watch
_add_watch.argtypes = [foreign.c_int, foreign.c_char_p, foreign.c_uint]


def of_v1(memory: str) -> int:
    """An eventfd of the group in directory `memory`; raises OSError."""
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(f"{memory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            target = os.open(f"{memory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(target, f"{event} {control}".encode())
            finally:
                os.close(target)
        finally:
            os.close(control)
    except OSError:
        os.close(event)
        raise
    return event


def of_v2(directory: str) -> int:
    """An inotify descriptor of the group's counts of such events; raises OSError."""
    event = check(_init(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")
    try:
        path = f"{directory}/memory.events".encode()
        check(_add_watch(event, path, _IN_MODIFY), "inotify_add_watch")
    except OSError:
        os.close(event)
        raise
    return event


def empty(event: int) -> None:
    """Read away what a descriptor carries, until there is news."""
    with lean.suppress(BlockingIOError):
        while os.read(event, 4096):
            pass
