"""libc and raw system calls, with errno made an OSError.

Sources: the man pages of the calls named, and the kernel's syscall tables for the numbers.
"""

from __future__ import annotations

import posix

from swarmlite.kernel import foreign

#: Releases the interpreter's lock during a call: a mount may take as long as a server likes.
LIBC = foreign.CDLL(None, use_errno=True)
#: Keeps the lock over the call: a raw clone must return holding it in the child.
HELD = foreign.PyDLL(None, use_errno=True)

_syscall = LIBC.syscall
_syscall.restype = foreign.c_long
_held_syscall = HELD.syscall
_held_syscall.restype = foreign.c_long

MACHINE = posix.uname().machine
_GENERIC = {  # the same numbers on every architecture
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431,
    "fsmount": 432, "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437,
    "mount_setattr": 442,
}  # fmt: skip
_OWN = {
    "x86_64": {"pivot_root": 155, "capset": 126, "seccomp": 317, "bpf": 321, "setns": 308,
               "unshare": 272, "execveat": 322, "keyctl": 250, "ioprio_set": 251,
               "sched_setattr": 314, "personality": 135, "clone": 56, "renameat2": 316},
    "aarch64": {"pivot_root": 41, "capset": 91, "seccomp": 277, "bpf": 280, "setns": 268,
                "unshare": 97, "execveat": 281, "keyctl": 219, "ioprio_set": 30,
                "sched_setattr": 274, "personality": 92, "clone": 220, "renameat2": 276},
}  # fmt: skip
NUMBERS = {**_GENERIC, **_OWN.get(MACHINE, {})}


def check(result: int, what: str) -> int:
    """The result of a call; raises OSError with errno's words when it is negative."""
    if result < 0:
        number = foreign.get_errno()
        raise OSError(number, f"{what}: {posix.strerror(number)}")
    return result


def call(name: str, *arguments: object) -> int:
    """A raw system call; raises OSError."""
    return check(_syscall(NUMBERS[name], *arguments), name)


def held_call(name: str, *arguments: object) -> int:
    """A raw system call that keeps the interpreter's lock; raises OSError."""
    return check(_held_syscall(NUMBERS[name], *arguments), name)
